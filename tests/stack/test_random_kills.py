"""One job, killed again and again: its result is the one of an uninterrupted run, bit by bit."""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from flant5_train.protocol.progress import Record, StepTrained, TrainingStarted
from tests.chaos.checker import check_overlaps, check_result
from tests.chaos.evidence import read_evidence
from tests.chaos.processes import TrainerProcess, trainer_processes
from tests.chaos.specs import write_training_file
from tests.chaos.testimony import launches
from tests.stack.parts import QUICK, Parts
from tests.stack.service import Process, wait_until

NUM_KILLS = 20
MAX_STEPS = 120
STEPS_BEYOND = 6
"""A kill during training comes up to that many steps after the attempt began to train."""
STARTING_SECONDS = 5.0
"""A kill of an attempt that may not have begun to train comes within that time."""
TREE = ("supervisor", "torchrun", "rank")
VICTIMS = ("pool process", *TREE)
SETTINGS = {
    "max_steps": MAX_STEPS,
    "save_steps": 3,
    "per_device_train_batch_size": 2,
    "model_max_length": 64,
    "learning_rate": 1e-3,
}

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    worker = (sys.executable, "-m", "tests.chaos.worker")
    settings = {**QUICK, "FLANT5_MAX_INFRA_RETRIES": "1000", "FLANT5_RETRY_SECONDS": "0.1"}
    home = tmp_path_factory.mktemp("home")
    with Parts(home, settings=settings, worker=worker, num_workers=1) as parts:
        yield parts


@pytest.fixture(scope="module")
def training_file(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "conversations.json"
    write_training_file(path)
    return parts.service.upload(path)


class Assassin:
    """Kills one attempt of a job after the other, at points that a seed chooses."""

    def __init__(self, parts: Parts, job_id: str, *, seed: int) -> None:
        self._parts = parts
        self._job_id = job_id
        self._chance = random.Random(seed)

    def strike(self) -> str:
        """Returns when the attempt is dead: what was killed, and when."""
        wait_until(lambda: self._find("rank"))
        (supervisor,) = self._find("supervisor")
        during = self._wait_for_the_moment()
        kind = self._chance.choice(VICTIMS)
        if kind == "pool process":
            pid = supervisor.ancestors[0]
        else:
            pid = self._chance.choice(self._find(kind)).pid
        tree = [one for kind in TREE for one in self._find(kind)]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(Process(one.pid, "").is_running for one in tree))
        return f"{kind} {during}"

    def _find(self, kind: str) -> list[TrainerProcess]:
        found = trainer_processes(self._parts.service.home)
        return [one for one in found if one.job_id == self._job_id and one.kind == kind]

    def _wait_for_the_moment(self) -> str:
        num_starts = len(self._starts())
        if self._chance.random() < 1 / 3:
            seconds = self._chance.uniform(0, STARTING_SECONDS)
            time.sleep(seconds)
            return f"{seconds:.2f} s after its start"
        wait_until(lambda: len(self._starts()) > num_starts)
        beyond = self._starts()[-1] + self._chance.randint(0, STEPS_BEYOND)
        wait_until(lambda: self._last_step() >= beyond)
        time.sleep(self._chance.uniform(0, 0.15))
        return f"at step {self._last_step()}"

    def _starts(self) -> list[int]:
        """The step at which each attempt that came to training began."""
        return [record.step for record in self._records() if isinstance(record, TrainingStarted)]

    def _last_step(self) -> int:
        steps = [record.step for record in self._records() if isinstance(record, StepTrained)]
        return steps[-1] if steps else 0

    def _records(self) -> tuple[Record, ...]:
        return read_evidence(self._parts.service.home, self._job_id).records


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_job_killed_at_random_points_ends_with_the_weights_of_an_uninterrupted_run(
    parts: Parts, training_file: str, num_ranks: int
) -> None:
    service = parts.service
    undisturbed = service.submit(training_file, **SETTINGS, num_gpus=num_ranks)
    assert service.ended(undisturbed)["status"] == "succeeded"
    job_id = service.submit(training_file, **SETTINGS, num_gpus=num_ranks)
    assassin = Assassin(parts, job_id, seed=num_ranks)
    for number in range(1, NUM_KILLS + 1):
        print(f"{num_ranks} ranks, kill {number}: {assassin.strike()}", flush=True)
    job = service.ended(job_id)
    assert job["status"] == "succeeded", job["error"]
    evidence = read_evidence(service.home, job_id)
    assert len(launches(list(evidence.witnesses))) > NUM_KILLS
    assert evidence.num_resumes > 5
    assert check_overlaps(evidence) == []
    assert check_result(evidence, read_evidence(service.home, undisturbed)) == []
