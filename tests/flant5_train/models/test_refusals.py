"""What can't be trained or loaded, and what is said about it."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from flant5_train.models.loading import load_model
from flant5_train.models.lora import check_qlora_available
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.model_files import ADAPTER_RECORD, ADAPTER_WEIGHTS
from tests.flant5_train.adapter_runs import train_here
from tests.flant5_train.runs import Run

FULL: dict[str, object] = {"finetuning_type": "full", "lora_rank": 16}


@pytest.mark.parametrize(
    ("settings", "param", "found"),
    [
        ({"lora_target_modules": "qq"}, "lora_target_modules", "found 'qq'"),
        ({"lora_rank": 0}, "lora_rank", "found 0"),
        (FULL | {"lora_rank": 8}, "finetuning_type", "lora_rank is 8, but finetuning_type is full"),
        ({"finetuning_type": "qlora"}, "finetuning_type", "qlora, which needs an NVIDIA GPU"),
    ],
)
def test_what_can_not_be_trained_is_refused_by_name(
    base: Path, tmp_path: Path, settings: dict[str, object], param: str, found: str
) -> None:
    if torch.cuda.is_available() and "GPU" in found:
        pytest.skip("this machine has one")
    with pytest.raises(TrainingError) as caught:
        train_here(tmp_path / "out", base, **settings)
    assert caught.value.code is FailureCode.BAD_CONFIG
    assert caught.value.param == param
    assert found in str(caught.value)


def test_qlora_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("flant5_train.models.lora.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"pip install 'flant5\[qlora\]'"):
        check_qlora_available()


def broken_adapter(finished: Run, directory: Path, how: str) -> Path:
    shutil.copytree(finished.output_dir / "checkpoint-6", directory)
    record = json.loads((directory / ADAPTER_RECORD).read_text())
    if how == "of another program":
        (directory / ADAPTER_RECORD).unlink()
    elif how == "no weights":
        (directory / ADAPTER_WEIGHTS).unlink()
    elif how == "cut":
        (directory / ADAPTER_WEIGHTS).write_bytes(b"x" * 100)
    elif how == "no base":
        (directory / ADAPTER_RECORD).write_text(json.dumps(record | {"base": "/no/such/base"}))
    elif how == "another rank":
        (directory / ADAPTER_RECORD).write_text(json.dumps(record | {"rank": 2}))
    elif how == "more modules":
        (directory / ADAPTER_RECORD).write_text(json.dumps(record | {"target_modules": ["x"]}))
    return directory


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("of another program", "found an adapter of another program in it"),
        ("no weights", "expected adapter_model.safetensors"),
        ("cut", "adapter_model.safetensors: "),
        ("no base", "model '/no/such/base' can't be loaded: there is no such directory"),
        ("another rank", "require the shape [2, 32]"),
        ("more modules", "flant5_adapter.json is damaged: target_modules.0: Input should be 'q'"),
    ],
)
def test_an_adapter_that_can_not_be_used_is_refused_with_what_was_found(
    finished: Run, tmp_path: Path, how: str, found: str
) -> None:
    directory = broken_adapter(finished, tmp_path / "adapter", how)
    with pytest.raises(TrainingError) as caught:
        load_model(directory, load_tokenizer(directory))
    assert caught.value.code is FailureCode.BAD_MODEL
    assert found in str(caught.value)
