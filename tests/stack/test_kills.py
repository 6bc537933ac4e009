"""The real trainer under the real worker, killed piece by piece."""

import os
import signal

import httpx
import pytest

from tests.stack.service import EXAMPLES, Process, Service, processes_with, wait_until

pytestmark = pytest.mark.stack

SETTINGS = {
    "max_steps": 24,
    "save_steps": 4,
    "num_gpus": 2,
    "per_device_train_batch_size": 2,
    "model_max_length": 128,
    "learning_rate": 1e-3,
}
SUPERVISOR = "worker.processes.supervisor"
TORCHRUN = "torch.distributed.run"
RANK = "flant5_train.train"


@pytest.fixture(scope="module")
def training_file(service: Service) -> str:
    return service.upload(EXAMPLES)


def running_job(service: Service, training_file: str, *, beyond: int, **settings: object) -> str:
    """A job that has trained more than `beyond` steps."""
    job_id = service.submit(training_file, **(SETTINGS | settings))
    wait_until(lambda: service.is_beyond(job_id, beyond), seconds=120)
    return job_id


def rank_of(service: Service, job_id: str) -> Process:
    ranks = [
        process
        for process in service.processes_of(job_id)
        if RANK in process.command
        and TORCHRUN not in process.command
        and SUPERVISOR not in process.command
    ]
    assert len(ranks) == 2
    return ranks[1]


def victim(service: Service, job_id: str, kind: str) -> Process:
    supervisor = service.one_process(job_id, SUPERVISOR)
    if kind == "Celery child":
        return Process(supervisor.parent, "")
    if kind == "supervisor":
        return supervisor
    if kind == "torchrun":
        return next(
            process
            for process in service.processes_of(job_id)
            if TORCHRUN in process.command and SUPERVISOR not in process.command
        )
    return rank_of(service, job_id)


@pytest.mark.parametrize("kind", ["Celery child", "supervisor", "torchrun", "rank"])
def test_a_kill_leaves_no_process_and_the_job_resumes(
    service: Service, training_file: str, kind: str
) -> None:
    job_id = running_job(service, training_file, beyond=8)
    before = service.processes_of(job_id)
    assert len(before) >= 4
    os.kill(victim(service, job_id, kind).pid, signal.SIGKILL)
    # Before the lease of 8 s runs out: by themselves. On a free core it takes tenths of a second.
    wait_until(lambda: not any(process.is_running for process in before), seconds=6)
    job = service.ended(job_id)
    assert job["status"] == "succeeded", job["error"]
    assert job["attempt"] == 2
    first, second = service.starts(job_id)
    assert first == 0
    assert second >= 8, "goes on from the newest complete checkpoint"
    assert second % 4 == 0


def test_sigterm_of_the_worker_saves_requeues_and_the_next_worker_resumes(
    service: Service, training_file: str
) -> None:
    job_id = running_job(service, training_file, beyond=5, save_steps=1000)
    before = service.processes_of(job_id)
    child = Process(service.one_process(job_id, SUPERVISOR).parent, "")
    os.kill(child.parent, signal.SIGTERM)
    job = service.ended(job_id)
    assert job["status"] == "succeeded", job["error"]
    assert not any(process.is_running for process in before)
    first, second = service.starts(job_id)
    assert first == 0
    stopped = [record.step for record in service.records(job_id) if record.type == "stopped"]
    assert stopped == [second]
    assert second > 5


def test_a_cancelled_job_leaves_no_process_and_keeps_its_checkpoint(
    service: Service, training_file: str
) -> None:
    job_id = running_job(service, training_file, beyond=5)
    before = service.processes_of(job_id)
    httpx.post(f"{service.url}/fine_tuning/jobs/{job_id}/cancel").raise_for_status()
    wait_until(lambda: not any(process.is_running for process in before), seconds=5)
    assert service.ended(job_id)["status"] == "cancelled"
    output = service.home / "jobs" / job_id / "output"
    assert (output / "checkpoint-4" / "COMPLETE").exists()
    assert not processes_with(job_id)
