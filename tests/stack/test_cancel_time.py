"""How long a cancelled job goes on: from the request until its whole tree is dead.

With the settings of the service as it is delivered.
"""

import math
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from flant5_train.training.checkpoints import complete_checkpoints, step_of
from tests.chaos.processes import TrainerProcess, trainer_processes
from tests.chaos.specs import write_training_file
from tests.stack.parts import Parts
from tests.stack.service import REPOSITORY, Process, Service, wait_until

NUM_CANCELS = 100
NUM_SAVING_CANCELS = 20
"""Each of them waits for a training that has begun."""
MAX_SECONDS = 2.0
GRACE_SECONDS = 60.0
MARGIN_SECONDS = 5.0
BEAT_SECONDS = 1.0
"""Cancels fall anywhere between two beats."""
SETTINGS = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
STUBBORN = REPOSITORY / "tests" / "worker" / "programs" / "worker_with_stubborn_ranks.py"

pytestmark = pytest.mark.chaos


def trees(service: Service, *, size: int) -> list[list[TrainerProcess]]:
    """The trees that have at least `size` processes, each of one job."""
    by_job: dict[str, list[TrainerProcess]] = {}
    for process in trainer_processes(service.home):
        by_job.setdefault(process.job_id, []).append(process)
    return [tree for tree in by_job.values() if len(tree) >= size]


def seconds_to_die(service: Service, tree: Sequence[TrainerProcess], *, how: str = "") -> float:
    """From the request to the end of the last process. `how` is the query of the request."""
    job_id = tree[0].job_id
    started = time.monotonic()
    httpx.post(f"{service.url}/fine_tuning/jobs/{job_id}/cancel{how}").raise_for_status()
    wait_until(lambda: not any(Process(one.pid, "").is_running for one in tree))
    seconds = time.monotonic() - started
    left = [one for one in trainer_processes(service.home) if one.job_id == job_id]
    assert left == []
    assert service.ended(job_id)["status"] == "cancelled"
    return seconds


def cancel_all(service: Service, job_ids: Sequence[str], *, size: int) -> list[float]:
    """One after the other, each when its tree is complete, somewhere between two beats."""
    chance = random.Random(0)
    times = []
    for _ in job_ids:
        wait_until(lambda: trees(service, size=size))
        time.sleep(chance.uniform(0, BEAT_SECONDS))
        times.append(seconds_to_die(service, trees(service, size=size)[0]))
    return times


def show(name: str, times: Sequence[float]) -> float:
    """The 99th percentile."""
    ordered = sorted(times)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    print(
        f"{len(times)} cancels of {name}: p50 {statistics.median(times):.2f} s, "
        f"p99 {p99:.2f} s, max {ordered[-1]:.2f} s"
    )
    return p99


def test_a_forced_cancel_kills_the_whole_tree_in_time(tmp_path: Path) -> None:
    data = tmp_path / "conversations.json"
    write_training_file(data)
    worker = (sys.executable, str(STUBBORN))
    with Parts(tmp_path / "home", settings=SETTINGS, worker=worker) as parts:
        service = parts.service
        file = service.upload(data)
        jobs = [service.submit(file) for _ in range(NUM_CANCELS)]
        # The supervisor, its command and two children.
        assert show("stubborn ranks", cancel_all(service, jobs, size=4)) <= MAX_SECONDS


def test_a_forced_cancel_kills_the_real_trainer_in_time(tmp_path: Path) -> None:
    data = tmp_path / "conversations.json"
    write_training_file(data)
    with Parts(tmp_path / "home", settings=SETTINGS) as parts:
        service = parts.service
        file = service.upload(data)
        jobs = [service.submit(file, max_steps=10_000, num_gpus=2) for _ in range(NUM_CANCELS)]
        # The supervisor, torchrun and two ranks.
        assert show("the real trainer", cancel_all(service, jobs, size=4)) <= MAX_SECONDS


def test_a_cancel_with_a_checkpoint_is_over_within_the_grace(tmp_path: Path) -> None:
    data = tmp_path / "conversations.json"
    write_training_file(data)
    times = []
    with Parts(tmp_path / "home", settings=SETTINGS, num_workers=1) as parts:
        service = parts.service
        file = service.upload(data)
        for _ in range(NUM_SAVING_CANCELS):
            job_id = service.submit(file, max_steps=10_000, num_gpus=2, model_max_length=64)
            wait_until(lambda job_id=job_id: service.is_beyond(job_id, 1))  # type: ignore[misc]
            (tree,) = trees(service, size=4)
            times.append(seconds_to_die(service, tree, how="?save_checkpoint=true"))
            (checkpoint,) = complete_checkpoints(service.home / "jobs" / job_id / "output")
            assert step_of(checkpoint) > 1
    assert show("the real trainer, with a checkpoint", times) <= GRACE_SECONDS + MARGIN_SECONDS
