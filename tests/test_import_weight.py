"""Heavy packages that each entry point loads when it is imported.

The supervisor runs beside every trainer and health probes run every few seconds, so their weight is
paid often. `make test` fails when one becomes heavier, and when one becomes lighter than stated.
"""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
HEAVY = (
    *("torch", "transformers", "accelerate", "peft", "numpy", "sentencepiece", "tokenizers"),
    *("pydantic", "redis", "celery", "fastapi", "uvicorn", "nicegui", "httpx", "typer", "openai"),
    *("huggingface_hub", "mlflow", "wandb"),
)
WEIGHT = {
    "api.__main__": "pydantic redis fastapi uvicorn",
    "api.app": "pydantic redis fastapi",
    "api.cli.main": "pydantic httpx typer",
    "api.health": "pydantic",
    "worker.__main__": "pydantic redis celery",
    "worker.app": "pydantic redis celery",
    "worker.health": "pydantic redis",
    "worker.controller.__main__": "pydantic redis celery",
    "worker.controller.health": "pydantic redis",
    "worker.serving.__main__": "pydantic redis",
    "worker.serving.health": "pydantic redis",
    "worker.webhooks.__main__": "pydantic redis httpx",
    "worker.webhooks.health": "pydantic redis",
    "worker.integrations.__main__": "pydantic redis",
    "worker.integrations.health": "pydantic redis",
    "worker.integrations.exporter": "pydantic",
    "worker.processes.supervisor": "",
    "worker.slots.gpu_selftest": "",
    "flant5_train": "",
    "flant5_train.train": "pydantic",
    "flant5_train.check": "pydantic",
    "flant5_train.file_report.__main__": "pydantic",
    "flant5_train.forecast.__main__": "numpy pydantic",
    "flant5_train.serving.__main__": "pydantic",
}


@pytest.mark.parametrize("module", WEIGHT)
def test_an_entry_point_loads_no_other_heavy_packages_than_stated(module: str) -> None:
    program = f"import sys, {module}; print(*({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(WEIGHT[module].split())
