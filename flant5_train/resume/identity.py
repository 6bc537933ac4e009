"""Identity of a run, from its arguments, data and base model."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from transformers.trainer_utils import IntervalStrategy
from transformers.utils.hub import cached_file

from flant5_train.arguments import Arguments
from flant5_train.command_line.rules import DATA, HUGGING_FACE, MODEL, OWN_TRAINING, Rules
from flant5_train.data.cache import ENCODING_VERSION
from flant5_train.data.encoding import encoder_for
from flant5_train.data.prompt import SYSTEM
from flant5_train.model_card.card import RunMetadata, flant5_version
from flant5_train.models.tokenizer import AnyTokenizer
from flant5_train.resume.record import BATCH_PLAN, ENCODING, RunRecord
from flant5_train.training.callbacks.early_stopping import evaluation_interval

_GROUPS: tuple[tuple[str, Rules], ...] = (
    ("model", MODEL),
    ("data", DATA),
    ("training", {**HUGGING_FACE, **OWN_TRAINING}),
)
_WEIGHTS = "*.safetensors"
_CONFIG = "config.json"
_NUM_SAMPLES, _SAMPLE_BYTES = 256, 4096


def record_of_run(
    arguments: Arguments, metadata: RunMetadata, *, tokenizer: AnyTokenizer, batch_plan: int
) -> RunRecord:
    """Returns the record of a new run. Call it after the model is loaded: a hub model must be in
    the local cache."""
    data = arguments.data
    validation = data.validation_file
    digests = {
        "training_data": _file_digest(Path(data.data_path)),
        "validation_data": _file_digest(Path(validation)) if validation else None,
        "base_model": model_digest(arguments.model.model_name_or_path),
    }
    labels = {
        "training_data": metadata.training_data,
        "validation_data": metadata.validation_data,
        "base_model": metadata.base_model,
    }
    encoding = [ENCODING_VERSION, encoder_for(tokenizer).fingerprint, SYSTEM]
    derived: dict[str, JsonValue] = {
        ENCODING: hashlib.sha256(json.dumps(encoding).encode()).hexdigest()[:16],
        "num_processes": arguments.training.world_size,
        BATCH_PLAN: batch_plan,
    }
    return RunRecord(
        flant5=flant5_version(),
        identity={**digests, **dict(_values(arguments)), **derived},
        labels={name: label for name, label in labels.items() if label is not None},
    )


def default_values() -> dict[str, JsonValue]:
    """Returns the defaults of the trainer's arguments, by name."""
    from flant5_train.arguments import DataArguments, ModelArguments, TrainingArguments

    found: dict[str, JsonValue] = {}
    for group in (ModelArguments, DataArguments, TrainingArguments):
        for field in dataclasses.fields(group):
            if field.default is not dataclasses.MISSING:
                found[field.name] = _json(field.default)
    return found


def model_digest(name_or_path: str) -> str:
    """Returns a digest of the configuration and of samples of the weights.

    Samples suffice, since training changes all weights. Reading them takes milliseconds.
    """
    directory = Path(name_or_path)
    if not directory.is_dir():
        config = cached_file(name_or_path, _CONFIG, local_files_only=True)
        assert config is not None, "the model has been loaded"
        directory = Path(config).parent
    digest = hashlib.sha256((directory / _CONFIG).read_bytes())
    for path in sorted(directory.glob(_WEIGHTS)):
        digest.update(path.name.encode())
        for part in _samples(path):
            digest.update(part)
    return digest.hexdigest()[:16]


def _samples(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    yield str(size).encode()
    with path.open("rb") as file:
        for number in range(_NUM_SAMPLES):
            file.seek(number * size // _NUM_SAMPLES)
            yield file.read(_SAMPLE_BYTES)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _values(arguments: Arguments) -> Iterator[tuple[str, JsonValue]]:
    """Yields the arguments that change the resulting model, by name."""
    for group, rules in _GROUPS:
        values = getattr(arguments, group)
        for name, rule in rules.items():
            if rule.changes_result:
                yield name, _json(getattr(values, _OWN_NAMES.get(name, name)))
    training, data = arguments.training, arguments.data
    # The effective values: a run is the same whichever of the two arguments sets a limit.
    limit = training.model_max_length
    yield "max_source_length", data.max_source_length or limit
    yield "max_target_length", data.max_target_length or limit
    if training.max_steps > 0:
        yield "num_train_epochs", None
    if training.load_best_model_at_end or training.early_stopping_patience:
        # The evaluations choose the final weights.
        strategy, steps = evaluation_interval(training)
        yield "eval_strategy", _json(strategy)
        yield "eval_steps", None if strategy == IntervalStrategy.EPOCH else steps
        yield "eval_delay", training.eval_delay


_OWN_NAMES: Mapping[str, str] = {"torch_compile": "compiles_blocks"}
"""Attribute names of arguments that are stored under another name."""


def _json(value: Any) -> JsonValue:
    """Returns the value after a round trip through JSON."""
    return json.loads(json.dumps(value, default=lambda other: getattr(other, "value", str(other))))  # type: ignore[no-any-return]
