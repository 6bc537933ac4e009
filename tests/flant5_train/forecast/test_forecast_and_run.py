"""A forecast is what a run then does."""

import json
from pathlib import Path
from typing import Any

import pytest

from flant5_train.config import DEMO_MODEL
from flant5_train.forecast.forecast import forecast
from flant5_train.protocol.forecast import BatchesForecast, Forecast
from flant5_train.protocol.progress import BatchesPlanned, DataRead, ModelSaved
from tests.flant5_train.forecast.scenes import question
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import Run, some_examples
from tests.flant5_train.training.callbacks.test_disk_space import bytes_of

SHAPES: list[dict[str, Any]] = [
    {"batching": "packed", "max_steps": 7, "validation_split": 0.2},
    {"batching": "bucketed", "num_train_epochs": 1.5, "gradient_accumulation_steps": 2},
    {"batching": "padded", "num_train_epochs": 2, "max_target_length": 16},
    {"finetuning_type": "lora", "max_steps": 3, "tokenization": "fastchat"},
]


@pytest.mark.parametrize("settings", SHAPES, ids=lambda settings: "-".join(map(str, settings)))
def test_a_run_does_what_was_forecast(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    data = some_examples(tmp_path / "talks.json", 12)
    settings = {"model_max_length": 96, "per_device_train_batch_size": 4, **settings}
    asked = question(tmp_path, model=tiny_model, training_file=data, **settings)
    told = forecast(asked)
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=tiny_model,
        data_path=data,
        seed=42,
        logging_steps=1,
        **settings,
    )
    assert finished.exit_code == 0, finished.log
    assert told.obstacle is None
    assert told.data.counted == "exact"
    check_data(told.data.training.model_dump(), read(finished, "train"))
    if "validation_split" in settings:
        assert told.data.validation is not None
        check_data(told.data.validation.model_dump(), read(finished, "validation"))
    check_batches(told.batches, finished)
    check_model(told, tmp_path / "out")


def check_data(told: dict[str, Any], read: dict[str, Any]) -> None:
    for name in (
        *("conversations", "pairs", "source_tokens", "target_tokens"),
        *("truncated_sources", "truncated_targets"),
    ):
        assert told[name] == read[name], name
    assert told["longest_source"] == read["source_lengths"]["max"]
    assert told["longest_target"] == read["target_lengths"]["max"]


def check_batches(told: BatchesForecast | None, finished: Run) -> None:
    assert told is not None
    (planned,) = (each for each in finished.records() if isinstance(each, BatchesPlanned))
    last = finished.steps()[-1]
    assert told.num_steps == planned.num_steps == last.step == last.max_steps
    assert told.micro_batches_per_epoch == planned.num_micro_batches
    assert told.num_epochs == pytest.approx(last.epoch, rel=1e-6)
    assert (told.source_fill, told.target_fill) == (planned.source_fill, planned.target_fill)
    assert told.largest.num_pairs == planned.largest.num_pairs
    assert told.largest.source_places + told.largest.target_places == planned.largest.padded_tokens
    (saved,) = (each for each in finished.records() if isinstance(each, ModelSaved))
    assert told.source_tokens + told.target_tokens == saved.tokens_seen


def check_model(told: Forecast, output: Path) -> None:
    assert told.model is not None
    assert told.disk is not None
    state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    assert told.model.flops == state["total_flos"]
    (checkpoint,) = output.glob("checkpoint-*")
    taken = bytes_of(checkpoint)
    assert taken <= told.disk.checkpoint_bytes <= 2 * taken
    assert bytes_of(output) - (output / "progress.jsonl").stat().st_size <= told.disk.model_bytes


def read(finished: Run, split: str) -> dict[str, Any]:
    (record,) = (
        each for each in finished.records() if isinstance(each, DataRead) and each.split == split
    )
    return {**record.report}


def test_the_demo_model_of_a_file_is_known_when_a_job_has_built_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = some_examples(tmp_path / "talks.json", 12)
    settings: dict[str, Any] = {"model_max_length": 96, "max_steps": 2}
    asked = question(tmp_path, model=DEMO_MODEL, training_file=data, **settings)
    before = forecast(asked)
    assert before.data.counted == "estimated"
    assert before.data.note is not None
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=DEMO_MODEL,
        models_directory=asked.models_directory,
        data_path=data,
        per_device_train_batch_size=8,
        **settings,
    )
    assert finished.exit_code == 0, finished.log
    after = forecast(asked)
    assert after.data.counted == "exact"
    check_batches(after.batches, finished)
    check_model(after, tmp_path / "out")
    assert before.model is not None
    assert after.model is not None
    assert before.model.num_weights >= after.model.num_weights
