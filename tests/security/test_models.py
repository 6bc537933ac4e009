"""A base model brings numbers, and no program."""

import ast
import json
import pickle
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load_file

from api.settings import ApiSettings
from flant5_train.models.loading import load_model
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.protocol.failure import FailureCode, TrainingError
from tests.stack.service import REPOSITORY


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, (f"open({str(self._path)!r}, 'w').close()",))


def test_a_canary_sings() -> None:
    """Else the tests below would pass whatever is loaded."""
    path = Path("canary-of-this-test")
    try:
        pickle.loads(pickle.dumps(Canary(path)))
        assert path.exists()
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin", "model.pt", "weights.ckpt"]
)
def test_a_pickled_checkpoint_is_refused_before_it_is_loaded(
    tiny_model: Path, tmp_path: Path, name: str
) -> None:
    directory, canary = tmp_path / "model", tmp_path / "canary"
    shutil.copytree(tiny_model, directory)
    (directory / "model.safetensors").unlink()
    (directory / name).write_bytes(pickle.dumps({"shared.weight": Canary(canary)}))
    with pytest.raises(TrainingError) as caught:
        load_model(directory, load_tokenizer(tiny_model))
    assert caught.value.code is FailureCode.BAD_MODEL
    assert f"found its weights in {name}, a format that can run code" in str(caught.value)
    assert "expected model.safetensors" in str(caught.value)
    assert not canary.exists()


def test_a_pickle_beside_the_weights_and_as_a_shard_of_them_is_not_opened(
    tiny_model: Path, tmp_path: Path
) -> None:
    canary, tokenizer = tmp_path / "canary", load_tokenizer(tiny_model)
    beside = shutil.copytree(tiny_model, tmp_path / "beside")
    (beside / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(canary)))
    load_model(beside, tokenizer)
    shard = shutil.copytree(tiny_model, tmp_path / "shard")
    (shard / "model.safetensors").unlink()
    (shard / "weights.bin").write_bytes(pickle.dumps(Canary(canary)))
    index = {"metadata": {}, "weight_map": {"shared.weight": "weights.bin"}}
    (shard / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TrainingError, match="can't be loaded"):
        load_model(shard, tokenizer)
    assert not canary.exists()


def conversion() -> list[str]:
    """The command of the documents that writes pickled weights anew."""
    text = (REPOSITORY / "docs" / "deploy.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if "use_safetensors=False" in line]
    _, *arguments = shlex.split(line)
    return [sys.executable, *arguments]


@pytest.mark.stack
def test_a_pickled_model_can_be_used_after_the_documented_conversion(
    tiny_model: Path, tmp_path: Path
) -> None:
    directory = shutil.copytree(tiny_model, tmp_path / "models" / "fastchat-t5")
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    torch.save(weights, directory / "pytorch_model.bin")
    with pytest.raises(TrainingError, match=r"docs/deploy\.md has the command"):
        load_model(directory, load_tokenizer(directory))
    subprocess.run(conversion(), cwd=tmp_path, check=True, capture_output=True, timeout=120)
    converted = load_file(directory / "model.safetensors")
    assert converted.keys() <= weights.keys()
    assert all(torch.equal(converted[name], weights[name]) for name in converted)
    load_model(directory, load_tokenizer(directory))


@pytest.mark.stack
def test_the_conversion_runs_no_code_of_a_pickle(tiny_model: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_model, tmp_path / "models" / "fastchat-t5")
    (directory / "model.safetensors").unlink()
    canary = tmp_path / "canary"
    torch.save({"shared.weight": Canary(canary)}, directory / "pytorch_model.bin")
    finished = subprocess.run(
        conversion(), cwd=tmp_path, check=False, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode != 0
    assert "weights_only" in finished.stderr.lower() or "Unsupported" in finished.stderr
    assert not canary.exists()


def test_code_that_comes_with_a_model_does_not_run(tiny_model: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_model, tmp_path / "model")
    canary = tmp_path / "canary"
    (directory / "evil.py").write_text(f"open({str(canary)!r}, 'w')\nclass Evil: ...\n")
    for name, mapped in (
        ("config.json", {"AutoConfig": "evil.Evil", "AutoModelForSeq2SeqLM": "evil.Evil"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}),
    ):
        path = directory / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": mapped}))
    load_model(directory, load_tokenizer(directory))
    config = directory / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "evil"}))
    with pytest.raises(TrainingError, match="can't be loaded"):
        load_model(directory, load_tokenizer(directory))
    assert not canary.exists()


def test_nothing_of_ours_trusts_code_that_comes_with_a_model() -> None:
    """Whoever loads by an Auto class says so in the call; the library would ask at the terminal."""
    calls = 0
    for folder in ("flant5_train", "worker", "api"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                trusted = given.get("trust_remote_code")
                assert trusted is None or ast.unparse(trusted) == "False", path
                if ast.unparse(node.func).startswith("Auto") and "from_pretrained" in ast.unparse(
                    node.func
                ):
                    calls += 1
                    assert trusted is not None, f"{path}:{node.lineno}"
    assert calls >= 3


@pytest.mark.parametrize("place", ["hyperparameters", "top"])
def test_a_request_can_not_ask_for_it(
    client: TestClient, settings: ApiSettings, place: str
) -> None:
    spec: dict[str, object] = {"model": "flant5-demo", "training_file": "chats.json"}
    spec |= (
        {"hyperparameters": {"trust_remote_code": True}}
        if place != "top"
        else {"trust_remote_code": True}
    )
    response = client.post("/fine_tuning/jobs", json=spec)
    assert response.status_code == 400
    assert "trust_remote_code: unknown field" in response.json()["error"]["message"]
    assert not (settings.home / "jobs").exists()


@pytest.mark.parametrize(
    "name",
    [
        "evil/flan-t5-base",
        "google/bert-base",
        "google/flan-t5-base/../../evil",
        "https://evil.test/model",
        "/etc",
        "./model",
        "google/flan-t5-*",
    ],
)
def test_a_model_from_elsewhere_is_refused_by_name(client: TestClient, name: str) -> None:
    response = client.post("/fine_tuning/jobs", json={"model": name, "training_file": "chats.json"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "model"
    assert "available: flant5-demo" in response.json()["error"]["message"]
