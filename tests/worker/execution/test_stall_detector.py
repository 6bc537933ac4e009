"""Trainers that hang, and those that are only slow or silent by nature."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.worker.scenes import is_alive, wait_until
from tests.worker.workshop import open_workshop
from worker.execution.monitor import WATCHED, StallDetector
from worker.jobs.job import Phase, Status

SAID = (
    "training stalled: no progress for 3 s after step 3 (FLANT5_STALL_SECONDS). "
    "The trainer was killed; the log contains stack traces of its processes."
)


def test_a_trainer_that_hangs_is_a_loss_with_its_stacks_in_the_log(
    redis_url: SecretStr, tmp_path: Path
) -> None:
    workshop = open_workshop(redis_url, tmp_path, stall_seconds=3.0, max_infra_retries=2)
    job = workshop.new_job(max_steps=6, save_steps=2)
    workshop.hold_after(3)
    waiting = workshop.run(job.id, "hangs_in_training.py")
    assert (waiting.status, waiting.losses) == (Status.QUEUED, 1)
    assert not any(map(is_alive, workshop.pids(job.id)))
    assert workshop.messages(job.id)[-1] == f"Job queued again: {SAID}"
    log = workshop.run_directory(job.id).log.read_text()
    assert "most recent call first" in log
    assert "trains.py" in log
    assert " in wait" in log
    workshop.let_go()
    assert workshop.run(job.id).status is Status.SUCCEEDED
    assert workshop.steps(job.id) == [1, 2, 3, 3, 4, 5, 6], "from the checkpoint of step 2"


def test_one_that_hangs_each_time_fails_with_that_as_its_reason(
    redis_url: SecretStr, tmp_path: Path
) -> None:
    workshop = open_workshop(redis_url, tmp_path, stall_seconds=3.0, max_infra_retries=1)
    job = workshop.new_job(max_steps=6, save_steps=100)
    workshop.hold_after(3)
    failed = workshop.run(job.id)
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.code == "worker_lost"
    assert SAID in failed.error.message


def test_without_a_limit_a_silent_trainer_is_left_alone(tmp_path: Path) -> None:
    stall_detector = StallDetector(tmp_path / "progress.jsonl", limit_seconds=0)
    assert not any(stall_detector.is_stalled("training") for _ in range(100))


@pytest.mark.parametrize("phase", WATCHED)
def test_a_file_that_stays_as_it_is_becomes_a_silence_and_a_touch_ends_it(
    tmp_path: Path, phase: Phase
) -> None:
    progress = tmp_path / "progress.jsonl"
    progress.touch()
    stall_detector = StallDetector(progress, limit_seconds=0.01)
    wait_until(lambda: stall_detector.is_stalled(phase), what="a silence that is too long")
    os.utime(progress, (1, 1))
    assert not stall_detector.is_stalled(phase), "heard, whatever the clock of that host says"
    wait_until(lambda: stall_detector.is_stalled(phase), what="the next one")


@pytest.mark.parametrize("phase", [None, "preprocessing", "loading_model", "evaluating"])
def test_a_phase_that_is_silent_by_nature_counts_as_heard(tmp_path: Path, phase: Phase) -> None:
    stall_detector = StallDetector(tmp_path / "progress.jsonl", limit_seconds=0.01)
    wait_until(lambda: stall_detector.is_stalled("training"), what="a silence that is too long")
    assert not stall_detector.is_stalled(phase)
    assert not stall_detector.is_stalled("training"), "counted from then on"
