"""What TensorBoard reads of a run is what `progress.jsonl` says."""

import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from flant5_train.protocol.metrics import curves
from flant5_train.protocol.progress import (
    Evaluated,
    Record,
    StepTrained,
    TrainingStarted,
    read_records,
)
from flant5_train.training.callbacks.reporting import EventFiles, event_files
from tests.flant5_train.runs import command, environment, run, wait_until

NAMES = {
    "train/loss",
    "train/learning_rate",
    "train/grad_norm",
    "train/tokens_per_second",
    "train/source_fill",
    "train/target_fill",
    "train/tflops",
}


def read_curves(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """All points of each curve, as TensorBoard shows them."""
    found = EventAccumulator(str(directory), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(point.step, point.value) for point in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def expected_curves(records: Iterable[Record]) -> dict[str, list[tuple[int, Any]]]:
    """The last record of each step counts; event files keep four bytes of a number."""
    last: dict[str, dict[int, float]] = {}
    for record in records:
        if isinstance(record, StepTrained | Evaluated):
            for tag, value in curves(record).items():
                last.setdefault(tag, {})[record.step] = value
    return {
        tag: [(step, pytest.approx(value, rel=1e-6)) for step, value in sorted(points.items())]
        for tag, points in last.items()
    }


def start(step: int) -> TrainingStarted:
    return TrainingStarted(step=step, max_steps=9, num_pairs=1, num_processes=1)


def trained(step: int, *, loss: float) -> StepTrained:
    return StepTrained(
        step=step,
        max_steps=9,
        epoch=1.0,
        loss=loss,
        learning_rate=0.5,
        tokens_seen=10,
        tokens_per_second=2.0,
        eta_seconds=1.0,
    )


def append_all(directory: Path, *records: Record) -> None:
    files = EventFiles(directory)
    for record in records:
        files.append(record)
    files.close()


@pytest.mark.stack
def test_two_processes_draw_one_set_of_curves(tiny_model: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model_name_or_path": tiny_model, "max_steps": 4}
    settings |= {"validation_split": 0.1, "eval_steps": 2}
    finished = run(tmp_path, processes=2, **settings)
    assert finished.exit_code == 0, finished.log
    drawn = read_curves(tmp_path / "tensorboard")
    assert drawn.keys() == NAMES | {"eval/loss", "eval/perplexity", "eval/token_accuracy"}
    assert drawn == expected_curves(finished.records())
    assert [step for step, _ in drawn["eval/loss"]] == [2, 4]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


@pytest.mark.stack
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_resumed_run_draws_each_step_once(
    tiny_model: Path, tmp_path: Path, end: signal.Signals
) -> None:
    progress = tmp_path / "progress.jsonl"
    settings: dict[str, Any] = {"model_name_or_path": tiny_model, "save_steps": 4}
    process = subprocess.Popen(
        command(tmp_path, processes=1, max_steps=10_000, **settings),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Beyond a checkpoint, so that steps are trained again after a kill.
    wait_until(lambda: progress.exists() and b'"step":6,' in progress.read_bytes())
    process.send_signal(end)
    process.wait(timeout=60)
    reached = max(r.step for r in read_records(progress) if isinstance(r, StepTrained))
    settings["accept_checkpoint"] = "changed"  # the number of steps
    finished = run(tmp_path, max_steps=reached + 2, **settings)
    assert finished.exit_code == 0, finished.log
    begun = [r.step for r in finished.records() if isinstance(r, TrainingStarted)]
    assert len(begun) == 2
    assert begun[1] > 0
    drawn = read_curves(tmp_path / "tensorboard")
    assert drawn.keys() == NAMES
    assert drawn == expected_curves(finished.records())
    assert [step for step, _ in drawn["train/loss"]] == list(range(1, reached + 3))


def test_steps_that_a_resumed_run_has_not_trained_again_are_not_drawn(tmp_path: Path) -> None:
    first = [trained(step, loss=step) for step in (1, 2, 3, 4)]
    append_all(tmp_path, start(0), *first)
    append_all(tmp_path, start(2))
    assert read_curves(tmp_path)["train/loss"] == [(1, 1.0), (2, 2.0)]


def test_an_event_cut_by_a_kill_hides_nothing_that_came_later(tmp_path: Path) -> None:
    append_all(tmp_path, start(0), trained(1, loss=1.0), trained(2, loss=2.0))
    (first,) = event_files(tmp_path)
    first.write_bytes(first.read_bytes()[:-7])
    append_all(tmp_path, start(1), trained(2, loss=4.0), trained(3, loss=8.0))
    assert read_curves(tmp_path)["train/loss"] == [(1, 1.0), (2, 4.0), (3, 8.0)]


def test_the_tenth_start_comes_after_the_ninth(tmp_path: Path) -> None:
    for attempt in range(11):
        append_all(tmp_path, start(0), trained(1, loss=attempt))
    assert read_curves(tmp_path)["train/loss"] == [(1, 10.0)]
    assert len(event_files(tmp_path)) == 11
