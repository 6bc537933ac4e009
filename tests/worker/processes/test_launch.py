"""What a trainer is told by its environment."""

from pathlib import Path

import pytest

from flant5_train import process
from worker.jobs.storage.paths import RunDirectory
from worker.processes.trainer_process import HELD_LOCKS, WORKER_PROCESS, trainer_environment

RUN = RunDirectory(Path("/home/jobs/ftjob-1"))
LOCKS = (RUN.lock, Path("/run 10:30/a,b\n[\"'{}%ü/slots/GPU-1.lock"))


def test_a_rank_finds_its_worker_and_its_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    told = trainer_environment({}, num_processes=1, run_directory=RUN, held_locks=LOCKS)
    for name in (HELD_LOCKS, WORKER_PROCESS):
        monkeypatch.setenv(name, told[name])
    assert process.locks_to_hold() == LOCKS
    worker = process.worker_process()
    assert worker is not None
    process.expect_ancestor(worker)


def test_a_trainer_sees_the_gpus_that_are_held_for_it_and_no_others() -> None:
    inherited = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "PATH": "/bin"}
    for held, seen in (((), ""), (("GPU-2", "GPU-3"), "GPU-2,GPU-3"), (None, "0,1,2,3")):
        told = trainer_environment(
            inherited, num_processes=1, run_directory=RUN, visible_devices=held
        )
        assert told["CUDA_VISIBLE_DEVICES"] == seen
    told = trainer_environment({}, num_processes=1, run_directory=RUN)
    assert "CUDA_VISIBLE_DEVICES" not in told
