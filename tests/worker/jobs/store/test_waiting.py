"""What a queued job waits for: one sentence that names what has to change first."""

import pytest
from redis import Redis

from tests.worker.scenes import spec
from worker.jobs.job import Job, Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.queue_status import QueuePosition, pending_reason
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import InfraFailure
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState

NOW = 1_000_000.0
AT_MOST_TWO = QueuePolicy(max_running=2)


def queued(*, num_gpus: int = 1, num_nodes: int = 1, retry_at: float | None = None) -> Job:
    asked = spec(hyperparameters={"num_gpus": num_gpus, "num_nodes": num_nodes})
    return Job(id="ftjob-1", spec=asked, status=Status.QUEUED, created_at=1.0, retry_at=retry_at)


def worker(
    name: str, *, num_slots: int = 1, sick: str | None = None, job_id: str | None = None
) -> WorkerState:
    devices = tuple(map(str, range(num_slots)))
    return WorkerState(name=name, devices=devices, unhealthy_reason=sick, job_id=job_id)


def sentence(
    job: Job,
    *workers: WorkerState,
    num_ahead: int = 0,
    num_running: int = 0,
    policy: QueuePolicy = AT_MOST_TWO,
) -> str | None:
    return pending_reason(
        job, workers, num_ahead=num_ahead, num_running=num_running, policy=policy, now=NOW
    )


IDLE, BUSY = worker("gpu-0"), worker("gpu-1", job_id="ftjob-9")
SICK = worker("gpu-2", num_slots=4, sick="CUDA is not available")


def test_only_a_queued_job_waits_for_something() -> None:
    for status in Status:
        if status is not Status.QUEUED:
            assert sentence(queued().model_copy(update={"status": status})) is None


def test_without_a_worker_that_is_what_is_missing() -> None:
    assert sentence(queued()) == "a worker: none is online"


def test_a_job_larger_than_every_worker_is_told_the_largest() -> None:
    workers = (IDLE, worker("gpu-5", num_slots=2))
    expected = "a worker with 4 slots: none is online; the largest, gpu-5, has 2"
    assert sentence(queued(num_gpus=4), *workers, num_ahead=7) == expected


def test_when_all_that_fit_are_sick_they_are_named_with_their_complaint() -> None:
    expected = "a healthy worker with 4 slots: gpu-2 takes no jobs (CUDA is not available)"
    assert sentence(queued(num_gpus=4), IDLE, SICK) == expected
    many = [worker(f"gpu-{number}", sick="hot") for number in range(5)]
    text = sentence(queued(), *many)
    assert text is not None
    assert text.endswith("gpu-2 takes no jobs (hot); nor do 2 more")


def test_an_owner_at_its_limit_is_told_so() -> None:
    expected = "another job of its owner to end: 2 running, limit 2"
    assert sentence(queued(), IDLE, num_running=2) == expected
    assert "to start it" in str(sentence(queued(), IDLE, num_running=1))
    no_limit = QueuePolicy(max_running=0)
    assert "to start it" in str(sentence(queued(), IDLE, num_running=9, policy=no_limit))


@pytest.mark.parametrize(("retry_at", "left"), [(NOW + 3.2, 4), (NOW + 0.001, 1), (NOW + 60, 60)])
def test_a_pause_after_a_loss_is_counted_down_in_whole_seconds(retry_at: float, left: int) -> None:
    expected = f"the retry delay after a lost attempt: {left} s left"
    assert sentence(queued(retry_at=retry_at), IDLE) == expected


def test_a_pause_that_is_over_is_not_mentioned() -> None:
    assert "to start it" in str(sentence(queued(retry_at=NOW), IDLE))


def test_when_all_that_fit_are_busy_the_jobs_ahead_are_counted() -> None:
    small = worker("gpu-7")
    large = worker("gpu-8", num_slots=2, job_id="ftjob-8")
    two = queued(num_gpus=2)
    expected = "a free worker with 2 slots: gpu-8 is busy; it is next in the queue"
    assert sentence(two, small, large, SICK) == expected
    both = (BUSY, worker("gpu-3", job_id="ftjob-7"))
    assert sentence(queued(), *both, num_ahead=1) == (
        "a free worker: all 2 are busy; 1 job is ahead of it"
    )
    assert sentence(queued(), *both, num_ahead=3) == (
        "a free worker: all 2 are busy; 3 jobs are ahead of it"
    )


def test_an_idle_worker_takes_the_first_in_the_queue() -> None:
    assert sentence(queued(), BUSY, IDLE) == "worker gpu-0 to start it"
    assert sentence(queued(), BUSY, IDLE, num_ahead=1) == "its turn: 1 job is ahead of it"


def test_a_job_of_several_nodes_counts_the_workers_that_fit() -> None:
    two = queued(num_nodes=2)
    assert sentence(two) == "2 workers with 1 slot each: none is online"
    assert sentence(two, IDLE) == "2 workers with 1 slot each: 1 is online"
    larger = queued(num_nodes=3, num_gpus=2)
    fitting = [worker(f"gpu-{number}", num_slots=2) for number in (5, 6)]
    assert sentence(larger, IDLE, *fitting) == "3 workers with 2 slots each: 2 are online"
    assert sentence(two, IDLE, SICK) == (
        "2 healthy workers with 1 slot each: gpu-2 takes no jobs (CUDA is not available)"
    )


def test_a_job_of_several_nodes_waits_until_enough_are_idle_at_the_same_time() -> None:
    two, other = queued(num_nodes=2), worker("gpu-3")
    assert sentence(two, IDLE, BUSY) == (
        "2 free workers with 1 slot each: 1 of 2 is idle; it is next in the queue"
    )
    assert sentence(two, BUSY, BUSY, BUSY, num_ahead=2) == (
        "2 free workers with 1 slot each: 0 of 3 are idle; 2 jobs are ahead of it"
    )
    assert sentence(two, IDLE, BUSY, other) == "workers gpu-0, gpu-3 to start it"
    assert sentence(two, IDLE, other, num_ahead=1) == "its turn: 1 job is ahead of it"
    expected = "another job of its owner to end: 2 running, limit 2"
    assert sentence(two, IDLE, other, num_running=2) == expected


def test_a_list_of_jobs_is_explained_from_what_the_store_says(
    redis: Redis, store: JobStore
) -> None:
    room, registry = (
        QueuePosition(redis, QueuePolicy(max_running=1)),
        WorkerRegistry(Scripts(redis, QueuePolicy())),
    )
    jobs = [store.create(spec(), owner="alice") for _ in range(2)]
    large = store.create(spec(hyperparameters={"num_gpus": 8}))
    for job in (*jobs, large):
        store.accept(job.id)
    unchecked = store.create(spec())
    ids = [*(job.id for job in jobs), large.id, unchecked.id]

    def explained() -> dict[str, str]:
        return room.explain(store.get(job_id) for job_id in ids)

    assert set(explained().values()) == {"a worker: none is online"}
    assert unchecked.id not in explained()
    registry.register(worker("gpu-0"), seconds=60)
    claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=60)
    assert claim is not None
    assert explained() == {
        jobs[1].id: "another job of its owner to end: 1 running, limit 1",
        large.id: "a worker with 8 slots: none is online; the largest, gpu-0, has 1",
    }
    for _ in range(2):
        store.leases.release(claim, reason="x", infra_failure=InfraFailure("worker_lost"))
        claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=60) or claim
    assert explained()[jobs[0].id] == "the retry delay after a lost attempt: 2 s left"


def test_a_long_list_costs_one_look_at_the_workers(redis: Redis, store: JobStore) -> None:
    jobs = [store.create(spec()) for _ in range(50)]
    for job in jobs:
        store.accept(job.id)
    queued_jobs = [store.get(job.id) for job in jobs]

    def num_reads() -> int:
        return int(redis.info("commandstats").get("cmdstat_zrange", {}).get("calls", 0))

    room, before = QueuePosition(redis, QueuePolicy()), num_reads()
    assert len(room.explain(queued_jobs)) == 50
    assert num_reads() - before == 2
    assert room.explain([]) == {}
    assert num_reads() - before == 2
