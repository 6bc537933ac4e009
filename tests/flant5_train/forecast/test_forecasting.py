"""Forecasts without a run beside them."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flant5_train.batching.plan import PlanSettings, RunPlan
from flant5_train.batching.schedule import StepShape
from flant5_train.config import Batching, Hyperparameters
from flant5_train.data.pairs import PairLengths
from flant5_train.forecast import data as survey
from flant5_train.forecast.__main__ import main
from flant5_train.forecast.batches import PlannedRun
from flant5_train.forecast.forecast import forecast
from flant5_train.protocol.failure import Failure
from flant5_train.protocol.forecast import Forecast
from tests.flant5_train.conftest import EXAMPLES
from tests.flant5_train.forecast.scenes import question
from tests.flant5_train.runs import some_examples
from worker.controller.retention import remove_unused

XL = "google/flan-t5-xl"
GIB = 2**30
TALK = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]}


def write_lines(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "millions"), [("small", 77), ("base", 248), ("large", 783), ("xl", 2850)]
)
def test_the_published_models_have_their_published_sizes(
    tmp_path: Path, name: str, millions: int
) -> None:
    model = forecast(question(tmp_path, model=f"google/flan-t5-{name}", max_steps=1)).model
    assert model is not None
    assert model.num_weights // 10**6 == pytest.approx(millions, abs=1)
    assert model.sizes_from == f"the published sizes of flan-t5-{name}"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("someone/flan-t5-tiny", "is on a model hub, which is not queried"),
        ("/does/not/exist", "its config.json has no T5 sizes: [Errno 2]"),
    ],
)
def test_sizes_that_are_not_known_are_not_made_up(tmp_path: Path, model: str, said: str) -> None:
    told = forecast(question(tmp_path, model=model, max_steps=2))
    assert (told.model, told.memory, told.disk) == (None, None, None)
    assert told.model_note is not None
    assert said in told.model_note
    assert told.batches is not None
    assert told.batches.num_steps == 2


def test_a_config_of_another_kind_is_named_by_its_field(tmp_path: Path) -> None:
    model = tmp_path / "bert"
    model.mkdir()
    (model / "config.json").write_text('{"d_model": 8, "d_kv": "wide"}')
    note = forecast(question(tmp_path, model=model, max_steps=1)).model_note
    assert note is not None
    assert "('d_kv',): Input should be a valid integer" in note


def test_memory_is_compared_with_a_gpu_and_settings_are_named_by_which_it_would_fit(
    tmp_path: Path,
) -> None:
    def memory(**settings: Any) -> Any:
        return forecast(question(tmp_path, model=XL, bf16=True, max_steps=1, **settings)).memory

    unknown, large, small = memory(), memory(gpu_bytes=80 * GIB), memory(gpu_bytes=24 * GIB)
    assert (unknown.fits, unknown.gpu_bytes, unknown.suggestions) == (None, None, ())
    assert (large.fits, large.suggestions) == (True, ())
    assert small.fits is False
    assert any("lora" in each for each in small.suggestions)
    assert unknown.total_bytes == large.total_bytes == small.total_bytes


def test_the_disk_holds_a_new_checkpoint_beside_those_it_replaces(tmp_path: Path) -> None:
    def disk(**settings: Any) -> Any:
        return forecast(question(tmp_path, model=XL, save_steps=10, **settings)).disk

    one, many = disk(max_steps=9), disk(max_steps=100)
    assert (one.num_checkpoints, many.num_checkpoints) == (1, 3)
    assert many.peak_bytes == 3 * many.checkpoint_bytes + many.model_bytes
    assert many.kept_bytes == 2 * many.checkpoint_bytes + many.model_bytes
    best = disk(max_steps=100, validation_split=0.1, load_best_model_at_end=True, eval_steps=5)
    assert best.num_checkpoints == 4
    assert disk(max_steps=9, finetuning_type="lora").checkpoint_bytes < one.checkpoint_bytes / 20


@pytest.mark.parametrize(
    ("records", "obstacle"),
    [
        ([TALK, {"messages": [{"role": "bot", "content": "Hi"}]}], "1 malformed record"),
        ([{"messages": [{"role": "user", "content": "Hi"}]}], "no pair of a question"),
    ],
)
def test_a_job_that_would_fail_on_its_data_has_no_steps(
    tmp_path: Path, records: list[object], obstacle: str
) -> None:
    data = write_lines(tmp_path / "talks.jsonl", records)
    told = forecast(question(tmp_path, model=XL, training_file=data))
    assert (told.batches, told.memory, told.disk) == (None, None, None)
    assert told.obstacle is not None
    assert told.obstacle.startswith("training_file: ")
    assert obstacle in told.obstacle
    assert told.model is not None
    assert told.model.flops is None
    assert len(told.data.training.problems) == told.data.training.num_problems
    told = forecast(question(tmp_path, model=XL, validation_file=data))
    assert told.obstacle is not None
    assert told.obstacle.startswith("validation_file: ")


def test_problems_are_told_with_their_place(tmp_path: Path) -> None:
    bad = {"messages": [{"role": "bot", "content": "Hi"}]}
    data = write_lines(tmp_path / "talks.jsonl", [TALK, bad])
    (said,) = forecast(question(tmp_path, model=XL, training_file=data)).data.training.problems
    assert said.startswith("record 2 (line 2), messages[0].role: found 'bot'; expected one of ")
    skipping = question(tmp_path, model=XL, training_file=data, on_bad_record="skip")
    assert forecast(skipping).batches is not None


def test_a_split_of_one_conversation_is_an_obstacle(tmp_path: Path) -> None:
    data = some_examples(tmp_path / "talks.json", 1)
    told = forecast(question(tmp_path, model=XL, training_file=data, validation_split=0.1))
    assert told.obstacle is not None
    assert "expected at least 2" in told.obstacle
    assert told.batches is None


def test_a_file_is_read_once_whatever_is_asked_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = some_examples(tmp_path / "talks.json", 12)
    asked = question(tmp_path, model=XL, training_file=data)
    first = forecast(asked)
    with monkeypatch.context() as patch:
        patch.setattr(survey, "examine_with", None)
        assert forecast(asked) == first
        short = forecast(question(tmp_path, model=XL, training_file=data, model_max_length=64))
        assert short.data.training.truncated_sources > 0
    some_examples(data, 13)
    assert forecast(asked).data.training.pairs > first.data.training.pairs


@pytest.mark.parametrize("name", ["report.json", "pairs.bin"])
def test_a_damaged_survey_is_made_anew(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = question(tmp_path, model=XL, max_steps=1)
    first = forecast(asked)
    (kept,) = (tmp_path / "cache").iterdir()
    content = (kept / name).read_bytes()
    (kept / name).write_bytes(content[:-24])
    assert forecast(asked) == first
    assert (kept / name).read_bytes() == content
    assert "is damaged, scanning again" in capsys.readouterr().err


def test_a_cache_that_takes_nothing_costs_the_next_reading_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("not a directory")
    assert forecast(question(tmp_path, model=XL, max_steps=1)).batches is not None
    assert "scan cache: can't save" in capsys.readouterr().err


def test_what_was_found_out_goes_when_nobody_has_asked_for_long(tmp_path: Path) -> None:
    asked, cache = question(tmp_path, model=XL, max_steps=1), tmp_path / "cache"
    forecast(asked)
    (kept,) = cache.iterdir()
    os.utime(kept / "manifest.json", (0, 0))
    forecast(asked)
    assert [*remove_unused(cache, seconds=3600)] == [None]
    assert kept.is_dir(), "it was just used"
    os.utime(kept / "manifest.json", (0, 0))
    assert [*remove_unused(cache, seconds=3600)] == [None]
    assert not kept.exists()


@pytest.mark.parametrize("batching", ["packed", "bucketed", "padded"])
@pytest.mark.parametrize("num_pairs", [40, 1500])
@pytest.mark.parametrize("shape", [(3, 20), (64, 30), (2000, 1), (1, 1501)])
def test_steps_of_more_batches_than_pairs_are_planned_as_a_run_plans_them(
    batching: Batching, num_pairs: int, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    lengths = PairLengths(rng.integers(5, 400, num_pairs), rng.integers(2, 90, num_pairs))
    settings = Hyperparameters(
        batching=batching,
        num_gpus=min(64, shape[0]),
        num_nodes=-(-shape[0] // 64),
        gradient_accumulation_steps=shape[1],
        num_train_epochs=2,
    )
    planned = PlannedRun.of(lengths, settings, seed=42)
    own = StepShape(settings.num_gpus * settings.num_nodes, shape[1])
    plan = RunPlan(lengths, PlanSettings(batching, 8, own, 2, -1, 42))
    told = planned.forecast()
    assert told.num_steps == plan.num_steps
    assert told.micro_batches_per_epoch == plan.num_micro_batches
    assert (told.source_fill, told.target_fill) == plan.packing_efficiency()
    assert planned.largest.padded_tokens == plan.largest.padded_tokens
    assert told.source_tokens == 2 * lengths.source.sum()


def test_the_largest_step_that_can_be_asked_for_is_planned_at_once() -> None:
    lengths = PairLengths(np.full(40, 30), np.full(40, 9))
    settings = Hyperparameters(num_gpus=64, num_nodes=64, gradient_accumulation_steps=4096)
    told = PlannedRun.of(lengths, settings, seed=42).forecast()
    assert told.micro_batches_per_epoch == 2**24
    assert told.steps_per_epoch == 1


def test_a_hundred_million_steps_of_random_batches_are_planned_in_a_moment() -> None:
    lengths = PairLengths(np.arange(1, 41), np.full(40, 9))
    settings = Hyperparameters(batching="padded", max_steps=10**8)
    told = PlannedRun.of(lengths, settings, seed=42).forecast()
    assert told.num_steps == 10**8
    assert told.source_tokens == 10**8 // 5 * lengths.source.sum()
    assert told.largest.longest_source == 40


def test_the_program_prints_a_forecast_or_why_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = question(tmp_path, model=XL, max_steps=1)
    assert main([asked.model_dump_json()]) == 0
    told = Forecast.model_validate_json(capsys.readouterr().out)
    assert told.data.training.pairs == 746
    missing = asked.model_copy(update={"training_file": EXAMPLES.with_name("none.json")})
    assert main([missing.model_dump_json()]) == 2
    failure = Failure.model_validate_json(capsys.readouterr().out)
    assert failure.message.startswith("none.json: can't be read: ")


def test_numpy_alone_is_needed(tmp_path: Path) -> None:
    """As on the API image, which has neither a tokenizer nor what trains."""
    missing = ("torch", "transformers", "tokenizers", "sentencepiece", "google.protobuf")
    asked = question(tmp_path, model=XL, max_steps=3).model_dump_json()
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r}))\n"
        "from flant5_train.forecast.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = Forecast.model_validate_json(done.stdout)
    assert told.data.counted == "estimated"
    assert told.data.note is not None
    assert "is not installed" in told.data.note
    assert told.batches is not None
    assert told.batches.num_steps == 3


@pytest.mark.parametrize(
    ("bf16", "is_on_cpu", "found"),
    [(True, True, "bf16 is slow"), (True, False, None), (False, True, None)],
)
def test_bf16_on_a_slow_processor_is_in_the_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16: bool, is_on_cpu: bool, found: str | None
) -> None:
    monkeypatch.setattr("flant5_train.forecast.forecast.slow_bfloat16", lambda: "bf16 is slow")
    asked = question(tmp_path, model="flant5-demo", max_steps=1, bf16=bf16)
    asked = asked.model_copy(update={"is_on_cpu": is_on_cpu})
    assert forecast(asked).slow_bf16 == found


def test_automatic_values_are_in_the_forecast(tmp_path: Path) -> None:
    chosen = forecast(question(tmp_path, model="google/flan-t5-base")).chosen
    assert chosen is not None
    assert (chosen.num_train_epochs, chosen.learning_rate) == (3, 1e-4)
    assert chosen.message.startswith("auto: 3 epochs, ")
    given = {"num_train_epochs": 2, "learning_rate": 1e-5}
    assert forecast(question(tmp_path, model="google/flan-t5-base", **given)).chosen is None
    unknown = forecast(question(tmp_path, model="someone/flan-t5-tiny", max_steps=1))
    assert unknown.chosen is None
