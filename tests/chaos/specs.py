"""The jobs that chaos runs: small enough to end, long enough to be hit."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.stack.service import EXAMPLES

NUM_CONVERSATIONS = 40

_SMALL: Mapping[str, object] = {
    "save_steps": 2,
    "per_device_train_batch_size": 2,
    "model_max_length": 64,
    "learning_rate": 1e-3,
}

SPECS: Mapping[str, Mapping[str, object]] = {
    "one rank": {**_SMALL, "max_steps": 40, "num_gpus": 1},
    "two ranks": {**_SMALL, "max_steps": 24, "num_gpus": 2},
    "two nodes": {**_SMALL, "max_steps": 24, "num_nodes": 2},
}


def create_request(name: str, *, training_file: str, key: str) -> dict[str, object]:
    """The body of a create. `key` makes it a submission of its own, whatever the others hold."""
    return {
        "model": "flant5-demo",
        "training_file": training_file,
        "metadata": {"submission": key},
        "method": {"type": "supervised", "supervised": {"hyperparameters": {**SPECS[name]}}},
    }


def write_training_file(path: Path) -> None:
    """A slice of the example conversations."""
    conversations = json.loads(EXAMPLES.read_text(encoding="utf-8"))[:NUM_CONVERSATIONS]
    path.write_text(json.dumps(conversations), encoding="utf-8")
