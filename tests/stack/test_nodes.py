"""Jobs that need two workers, with the real trainer; the parts of the service are killed."""

import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flant5_train.protocol.progress import StepTrained
from tests.stack.faults import fault_file
from tests.stack.part import Part
from tests.stack.parts import QUICK, Parts
from tests.stack.service import EXAMPLES, Service, processes_with, wait_until
from worker.processes.process_tree import descendants

pytestmark = pytest.mark.stack

SETTINGS = {
    "max_steps": 24,
    "save_steps": 4,
    "per_device_train_batch_size": 2,
    "model_max_length": 128,
    "learning_rate": 1e-3,
}
WORKER = (sys.executable, "-m", "tests.stack.programs.worker_with_faults")
"""The usual one, but for jobs on a file that a fault is named for."""
TWO_NODES = {**SETTINGS, "num_nodes": 2}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    home = tmp_path_factory.mktemp("home")
    settings = {**QUICK, "FLANT5_NODE_ADDRESS": "127.0.0.1"}
    with Parts(home, settings=settings, worker=WORKER) as parts:
        yield parts
    assert not processes_with(str(home))


@pytest.fixture(scope="module")
def training_file(parts: Parts) -> str:
    return parts.service.upload(EXAMPLES)


def steps(service: Service, job_id: str) -> dict[int, tuple[object, ...]]:
    """The last record of each step: what training it again must not change."""
    return {
        record.step: (record.loss, record.grad_norm, record.learning_rate, record.tokens_seen)
        for record in service.records(job_id)
        if isinstance(record, StepTrained)
    }


def processes_below(pid: int, text: str) -> list[int]:
    """Descendants whose command line holds `text`, parents first."""
    return [
        each
        for each in descendants(pid)
        if text in Path(f"/proc/{each}/cmdline").read_text().replace("\0", " ")
    ]


def weights(service: Service, job_id: str) -> str:
    path = service.home / "jobs" / job_id / "output" / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(parts: Parts, training_file: str) -> str:
    """The same training on one node with two processes."""
    job_id = parts.service.submit(training_file, **SETTINGS, num_gpus=2)
    assert parts.service.ended(job_id)["status"] == "succeeded"
    return job_id


def assert_equal_training(service: Service, job_id: str, undisturbed: str) -> None:
    assert steps(service, job_id) == steps(service, undisturbed)
    assert weights(service, job_id) == weights(service, undisturbed)


def test_two_nodes_train_exactly_as_one_with_as_many_processes(
    parts: Parts, training_file: str, undisturbed: str
) -> None:
    service = parts.service
    job_id = service.submit(training_file, **TWO_NODES)
    job = service.ended(job_id)
    assert job["status"] == "succeeded", job["error"]
    assert job["attempt"] == 1
    assert_equal_training(service, job_id, undisturbed)
    assert len(job["workers"]) == 0
    assert (service.home / "jobs" / job_id / "node-1.log").stat().st_size > 0


def running_gang(parts: Parts, training_file: str) -> tuple[str, Part, Part]:
    """A job that has trained more than 5 steps, its leader and its member."""
    service = parts.service
    job_id = service.submit(training_file, **TWO_NODES)
    wait_until(lambda: service.is_beyond(job_id, 5), seconds=120)
    leader, member = service.job(job_id)["workers"]
    return job_id, parts[leader], parts[member]


def losses(parts: Parts, job_id: str) -> int:
    with parts.open_redis() as redis:
        return int(redis.hget(f"flant5:job:{job_id}", "losses") or 0)


@pytest.mark.parametrize("victim", ["leader", "member"])
@pytest.mark.parametrize("away_seconds", [0.5, pytest.param(20.0, marks=pytest.mark.chaos)])
def test_a_killed_worker_ends_the_attempt_on_both_nodes_and_the_job_resumes(
    parts: Parts, training_file: str, undisturbed: str, victim: str, away_seconds: float
) -> None:
    """Also when the worker is away for longer than a lease."""
    service = parts.service
    job_id, leader, member = running_gang(parts, training_file)
    before = service.processes_of(job_id)
    (leader if victim == "leader" else member).kill(away_seconds=away_seconds)
    # The member of a killed leader ends by itself or hears of the end by its lease of 8 s.
    wait_until(lambda: not any(process.is_running for process in before), seconds=12)
    job = service.ended(job_id)
    assert job["status"] == "succeeded", job["error"]
    assert job["attempt"] == 2
    first, second = service.starts(job_id)
    assert (first, second % 4) == (0, 0)
    assert second >= 4, "goes on from the newest complete checkpoint"
    assert_equal_training(service, job_id, undisturbed)


@pytest.mark.parametrize("victim", ["leader", "member"])
def test_a_worker_that_stops_costs_no_loss(
    parts: Parts, training_file: str, undisturbed: str, victim: str
) -> None:
    service = parts.service
    job_id, leader, member = running_gang(parts, training_file)
    stopped = leader if victim == "leader" else member
    os.kill(stopped.pid, signal.SIGTERM)
    wait_until(lambda: service.job(job_id)["status"] == "queued")
    assert losses(parts, job_id) == 0
    job = service.ended(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 1), job["error"]
    stops = [record.step for record in service.records(job_id) if record.type == "stopped"]
    assert service.starts(job_id) == [0, *stops], "goes on at the very step"
    assert_equal_training(service, job_id, undisturbed)


@pytest.mark.parametrize("node", [pytest.param(0, marks=pytest.mark.chaos), 1])
def test_a_killed_rank_is_told_as_that_and_the_job_resumes(
    parts: Parts, training_file: str, undisturbed: str, node: int
) -> None:
    service = parts.service
    job_id, leader, member = running_gang(parts, training_file)
    worker = (leader, member)[node]
    rank = processes_below(worker.pid, f"{job_id}/run.json")[-1]
    os.kill(rank, signal.SIGKILL)
    job = service.ended(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job["error"]
    url = f"{service.url}/fine_tuning/jobs/{job_id}/events?limit=100"
    messages = [event["message"] for event in httpx.get(url).json()["data"]]
    on = "" if node == 0 else f"on worker {worker.program.name}: "
    said = f"Job queued again: {on}a training process was killed by signal 9 (SIGKILL)"
    assert said in messages
    assert_equal_training(service, job_id, undisturbed)


def test_a_cancelled_job_leaves_no_process_on_any_node(parts: Parts, training_file: str) -> None:
    service = parts.service
    job_id, *_ = running_gang(parts, training_file)
    before = service.processes_of(job_id)
    httpx.post(f"{service.url}/fine_tuning/jobs/{job_id}/cancel").raise_for_status()
    wait_until(lambda: not any(process.is_running for process in before), seconds=5)
    assert service.ended(job_id)["status"] == "cancelled"


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("cuda_oom", "cuda_oom", "CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("nan", "nan_loss", "is nan at step 3 of 24"),
        pytest.param(
            *("sys_exit", "internal", "a training process ended with exit code 3"),
            marks=pytest.mark.chaos,
        ),
        pytest.param(
            *("os_exit", "internal", "a training process ended with exit code 5"),
            marks=pytest.mark.chaos,
        ),
    ],
)
def test_a_failure_of_a_rank_on_the_other_node_is_named(
    parts: Parts, fault: str, code: str, words: str
) -> None:
    """The faults strike in the last rank, which is the member's."""
    service = parts.service
    file_id = service.upload(EXAMPLES)
    path = fault_file(service.home, file_id)
    path.parent.mkdir(exist_ok=True)
    path.write_text(fault)
    job = service.ended(service.submit(file_id, **TWO_NODES))
    assert (job["status"], job["attempt"]) == ("failed", 1)
    assert job["error"]["code"] == code, job["error"]
    assert words in job["error"]["message"]


def test_with_one_worker_the_job_waits_and_says_why(parts: Parts, training_file: str) -> None:
    service = parts.service
    other = parts[parts.workers[1]]
    other.stop()
    job_id = service.submit(training_file, **TWO_NODES)
    why = "2 workers with 1 slot each: 1 is online"
    wait_until(lambda: service.job(job_id)["waiting_for"] == why)
    other.start()
    assert service.ended(job_id)["status"] == "succeeded"
