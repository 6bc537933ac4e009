"""Base models that want a token: who gets it, who does not, and what is said without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from flant5_train.demo_model import save_random_model, train_vocabulary
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE
from tests.flant5_train.conftest import EXAMPLES, TINY
from tests.hub.hub import READ_TOKEN, Hub
from tests.hub.repository import Repository, SmallFile
from tests.hub.server import hub_server
from worker.jobs.storage.paths import RunDirectory
from worker.processes.trainer_process import trainer_environment
from worker.serving.process import InferenceSettings
from worker.settings import WorkerSettings

NAME = "my-org/gated-t5"
LOADS = f"""
from flant5_train.models.loading import load_model
from flant5_train.models.tokenizer import load_tokenizer
model = load_model("{NAME}", load_tokenizer("{NAME}"))
print(sum(weight.numel() for weight in model.parameters()), "weights")
"""


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "hub_token"
    file.write_text(f"{READ_TOKEN}\n")
    return file


@pytest.mark.parametrize("kind", [WorkerSettings, InferenceSettings])
def test_a_program_that_loads_models_is_told_where_the_token_is(
    kind: type[WorkerSettings | InferenceSettings],
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert kind().hub_environment == {}
    monkeypatch.chdir(token_file.parent)
    monkeypatch.setenv("FLANT5_HUB_TOKEN_FILE", token_file.name)
    assert kind().hub_environment == {"HF_TOKEN_PATH": str(token_file)}
    assert READ_TOKEN not in repr(kind())


def test_an_empty_file_is_no_token(token_file: Path) -> None:
    token_file.write_text("")
    WorkerSettings(hub_token_file=token_file)
    WorkerSettings(hub_token_file=Path("/dev/null"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "hub_token can't be read"), (f"{READ_TOKEN}\nother\n", "expected a single token")],
)
def test_a_file_that_is_no_token_is_refused(
    token_file: Path, content: str | None, message: str
) -> None:
    token_file.unlink()
    if content is not None:
        token_file.write_text(content)
    with pytest.raises(ValidationError, match=message) as caught:
        WorkerSettings(hub_token_file=token_file)
    assert READ_TOKEN not in str(caught.value)


@pytest.fixture
def gated(tmp_path: Path) -> Repository:
    """A tiny Flan-T5 that nobody gets without a token."""
    directory = tmp_path / "base"
    directory.mkdir()
    lines = EXAMPLES.read_text(encoding="utf-8").splitlines()[:500]
    (directory / SENTENCEPIECE_FILE).write_bytes(train_vocabulary(iter(lines), num_pieces=300))
    save_random_model(directory, sizes=TINY)
    repository = Repository(is_private=False, is_gated=True)
    files = {path.name: SmallFile(path.read_bytes()) for path in directory.iterdir()}
    repository.add(files, summary="a model")
    return repository


@pytest.mark.stack
def test_a_trainer_loads_a_gated_model_with_the_token_and_says_what_is_missing_without(
    gated: Repository, token_file: Path, tmp_path: Path
) -> None:
    """Two processes that import torch."""
    with hub_server(Hub(repositories={NAME: gated})) as hub:
        inherited = os.environ | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": "0",
        }
        run = RunDirectory(tmp_path / "run")
        environment = trainer_environment(inherited, num_processes=1, run_directory=run)
        refused = loads(environment)
        assert refused.returncode == 1
        assert f"model '{NAME}'" in refused.stderr
        assert "FLANT5_HUB_TOKEN_FILE" in refused.stderr
        told = WorkerSettings(hub_token_file=token_file).hub_environment
        loaded = loads(environment | told)
        assert loaded.returncode == 0, loaded.stderr
        assert loaded.stdout.endswith("weights\n")
        assert READ_TOKEN not in refused.stderr + loaded.stdout + loaded.stderr


def loads(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", LOADS]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
