"""Why a run fails is in its error.json."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSeq2SeqLM

from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.training.run import parse_run
from tests.flant5_train.runs import Run, run


def failed(tmp_path: Path, model: Path, **settings: Any) -> Run:
    finished = run(tmp_path / "out", model_name_or_path=model, **{"max_steps": 6, **settings})
    assert finished.exit_code != 0
    assert finished.failure() is not None, finished.log
    return finished


def test_a_loss_that_is_no_number_ends_the_run(tiny_model: Path, tmp_path: Path) -> None:
    finished = failed(tmp_path, tiny_model, learning_rate=1e30, save_steps=1)
    failure = finished.failure()
    assert failure is not None
    assert failure.code is FailureCode.NAN_LOSS
    assert "expected a finite number" in failure.message
    for checkpoint in finished.output_dir.glob("checkpoint-*/COMPLETE"):
        model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint.parent)
        assert all(weight.isfinite().all() for weight in model.parameters())


def test_float16_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    failure = failed(tmp_path, tiny_model, fp16=True).failure()
    assert failure is not None
    assert failure.code is FailureCode.BAD_CONFIG
    assert "T5 overflows in float16" in failure.message


@pytest.mark.parametrize(
    "flag", [("--train_sampling_strategy", "group_by_length"), ("--dataloader_drop_last", "True")]
)
def test_another_order_of_the_pairs_is_refused(tmp_path: Path, flag: tuple[str, str]) -> None:
    argv = ["--data_path", str(tmp_path), "--output_dir", str(tmp_path), *flag]
    with pytest.raises(TrainingError, match="expected `batching`: padded, bucketed or packed"):
        parse_run(argv)


def test_blocks_are_compiled_for_rows_of_one_length_on_a_gpu_only(tmp_path: Path) -> None:
    argv = ["--data_path", str(tmp_path), "--output_dir", str(tmp_path), "--torch_compile", "True"]
    with pytest.raises(TrainingError, match="expected batching=packed on a GPU") as caught:
        parse_run([*argv, "--batching", "bucketed"])
    assert caught.value.param == "torch_compile"


def test_an_unknown_argument_is_named(tiny_model: Path, tmp_path: Path) -> None:
    failure = failed(tmp_path, tiny_model, learning_rat=1).failure()
    assert failure is not None
    assert failure.code is FailureCode.BAD_CONFIG
    assert "learning_rat" in failure.message


def test_a_bad_record_is_named_whichever_process_finds_it(tiny_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "bad.json"
    data.write_text('[{"conversations": [{"from": "alien", "value": "x"}]}]')
    failure = failed(tmp_path, tiny_model, processes=2, data_path=data).failure()
    assert failure is not None
    assert failure.code is FailureCode.BAD_DATA
    assert "bad.json: record 1 (line 1): field 'conversations[0].from'" in failure.message
