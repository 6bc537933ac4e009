from pathlib import Path
from typing import Any

import pytest
import torch

from flant5_train.protocol.failure import FailureCode
from flant5_train.training.callbacks.out_of_memory import (
    BatchShape,
    MemorySettings,
    out_of_memory_message,
)
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import some_examples

SAID = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79.11 GiB."
BATCH = BatchShape(num_pairs=8, source_length=2048, target_length=512)


def settings(**changes: Any) -> MemorySettings:
    plain: dict[str, Any] = {
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "optimizer": "adamw_torch_fused",
    }
    return MemorySettings(**plain | changes)


def test_what_helps_most_comes_first() -> None:
    assert out_of_memory_message(BATCH, settings(), SAID) == (
        "the GPU has too little memory for a batch of 8 pairs, 2048 source and 512 target tokens"
        f" long ({SAID}). Remedies, most effective first: gradient_checkpointing=true; bf16=true;"
        " per_device_train_batch_size=4 with gradient_accumulation_steps=4; a model_max_length well"
        " below 2048; optim=adafactor; LoRA; a smaller model or a larger GPU"
    )


def test_what_is_done_already_is_not_advised() -> None:
    frugal = settings(
        bf16=True,
        gradient_checkpointing=True,
        per_device_train_batch_size=1,
        optimizer="adafactor",
        has_adapters=True,
    )
    message = out_of_memory_message(None, frugal, SAID)
    assert message.endswith(
        "most effective first: a smaller model_max_length; a smaller model or a larger GPU"
    )
    assert "has too little memory for this model (" in message


def test_a_batch_of_an_odd_size_keeps_its_pairs_per_step() -> None:
    message = out_of_memory_message(BATCH, settings(per_device_train_batch_size=3), SAID)
    assert "per_device_train_batch_size=1 with gradient_accumulation_steps=6" in message


def test_packed_pairs_are_counted_by_their_segments() -> None:
    packed = {
        "input_ids": torch.zeros(1, 10),
        "labels": torch.zeros(1, 6),
        "source_segments": torch.tensor([[1, 1, 1, 2, 2, 3, 3, 3, 0, 0]]),
    }
    assert BatchShape.of(packed) == BatchShape(3, 10, 6)


def test_a_step_that_does_not_fit_ends_the_run_with_its_batch_and_the_cures(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError(SAID)

    monkeypatch.setattr("accelerate.Accelerator.backward", full)
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=tiny_model,
        data_path=some_examples(tmp_path / "talks.json", 20),
        gradient_checkpointing=True,
        batching="padded",
    )
    failure = finished.failure()
    assert failure is not None, finished.log
    assert failure.code is FailureCode.CUDA_OOM
    assert failure.param == "per_device_train_batch_size"
    assert "has too little memory for a batch of 4 pairs, " in failure.message
    assert f" target tokens long ({SAID})" in failure.message
    assert "most effective first: bf16=true; per_device_train_batch_size=2 with" in failure.message


def test_an_evaluation_that_does_not_fit_names_its_own_batch_size(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError(SAID)

    monkeypatch.setattr("flant5_train.training.evaluation.evaluate_pairs", full)
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=tiny_model,
        data_path=some_examples(tmp_path / "talks.json", 20),
        validation_split=0.2,
        per_device_eval_batch_size=16,
        max_steps=1,
    )
    failure = finished.failure()
    assert failure is not None, finished.log
    assert (failure.code, failure.param) == (FailureCode.CUDA_OOM, "per_device_eval_batch_size")
    assert "has too little memory to evaluate 16 pairs at a time" in failure.message
