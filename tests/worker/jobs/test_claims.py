"""Which job a worker gets: the best that fits, and when it may."""

import time

import pytest
from redis import Redis

from tests.worker.scenes import LEASE_SECONDS, claimed_job, queued_job
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Claim, InfraFailure
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState


def job_on(store: JobStore, *, num_gpus: int = 1, priority: int = 0) -> str:
    return queued_job(store, priority=priority, hyperparameters={"num_gpus": num_gpus}).id


def claim(store: JobStore, *, worker: str = "gpu-0", num_slots: int = 8) -> str | None:
    found = store.leases.claim(worker=worker, num_slots=num_slots, lease_seconds=LEASE_SECONDS)
    return found.job.id if found else None


def appear(redis: Redis, name: str, *, num_slots: int) -> WorkerRegistry:
    registry = WorkerRegistry(Scripts(redis, QueuePolicy()))
    devices = tuple(f"cpu-{name}-{number}" for number in range(num_slots))
    registry.register(WorkerState(name=name, devices=devices), seconds=60)
    return registry


def test_the_higher_priority_comes_first_then_the_older_job(store: JobStore) -> None:
    low, middle, high = (job_on(store, priority=priority) for priority in (-5, 0, 7))
    younger = job_on(store)
    assert [claim(store) for _ in range(5)] == [high, middle, younger, low, None]


def test_a_job_waits_for_a_worker_that_has_enough_slots(store: JobStore) -> None:
    large, small = job_on(store, num_gpus=4), job_on(store, num_gpus=2)
    assert claim(store, num_slots=1) is None
    assert claim(store, num_slots=2) == small
    assert claim(store, num_slots=4) == large


def test_the_fitting_job_is_found_behind_many_that_do_not_fit(store: JobStore) -> None:
    for _ in range(205):
        job_on(store, num_gpus=4)
    fitting = job_on(store)
    assert claim(store, num_slots=1) == fitting


def test_a_small_job_is_left_to_a_small_idle_worker_for_a_moment(redis: Redis) -> None:
    store = JobStore(redis)
    appear(redis, "large", num_slots=4)
    appear(redis, "small", num_slots=1)
    job = job_on(store)
    assert claim(store, worker="large", num_slots=4) is None
    redis.hset(keys.job(job), "queued_at", int(time.time() * 1000) - 2_500)
    assert claim(store, worker="large", num_slots=4) == job


@pytest.mark.parametrize("state", ["busy", "sick", "gone"])
def test_a_small_job_is_not_left_to_a_worker_that_cannot_take_it(redis: Redis, state: str) -> None:
    store = JobStore(redis)
    registry = appear(redis, "small", num_slots=1)
    if state == "busy":
        claimed_job(store, worker="small")
    elif state == "sick":
        registry.set_health("small", "GPU 0: an illegal memory access")
    else:
        registry.deregister("small")
    job = job_on(store)
    assert claim(store, worker="large", num_slots=4) == job


def test_an_owner_runs_no_more_jobs_at_a_time_than_may(redis: Redis) -> None:
    store = JobStore(redis, QueuePolicy(max_running=1))
    first, second = queued_job(store).id, queued_job(store).id
    assert claim(store) == first
    assert claim(store) is None
    store.cancel(first)
    store.leases.release_worker("gpu-0")
    assert claim(store) == second


def lose(store: JobStore, infra_failure: InfraFailure) -> float:
    """Seconds until the job may run again."""
    found = store.leases.claim(worker="w", num_slots=1, lease_seconds=LEASE_SECONDS)
    assert found is not None
    store.leases.release(found, reason="x", infra_failure=infra_failure)
    retry_at = store.get(found.job.id).retry_at
    return 0.0 if retry_at is None else retry_at - time.time()


def test_after_each_further_loss_a_job_waits_twice_as_long(redis: Redis) -> None:
    store = JobStore(redis, QueuePolicy(retry_seconds=20, max_infra_retries=10))
    job = queued_job(store).id
    waits = []
    for _ in range(4):
        waits.append(lose(store, InfraFailure("worker_lost")))
        assert (claim(store) is None) is (waits[-1] > 0)
        redis.hdel(keys.job(job), "retry_at")
        store.leases.release_worker("gpu-0")
        redis.hset(keys.job(job), "losses", len(waits))
        redis.hdel(keys.job(job), "retry_at")
    assert waits == pytest.approx([0, 20, 40, 60], abs=5), "a minute at most"


def test_a_doorbell_is_rung_when_the_wait_is_over_and_a_worker_is_idle(redis: Redis) -> None:
    store = JobStore(redis, QueuePolicy(retry_seconds=0))
    appear(redis, "idle", num_slots=1)
    job = job_on(store)
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == (job,)
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == ()
    redis.zadd(keys.PENDING_NOTIFICATIONS, {job: (time.time() - 3) * 1000})
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == (job,)
    redis.zadd(keys.PENDING_NOTIFICATIONS, {job: (time.time() - 3) * 1000})
    redis.hset(keys.job(job), "retry_at", int(time.time() * 1000) + 5_000)
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == (), "it may not run yet"


def test_no_doorbell_is_rung_again_for_a_worker_that_is_too_small(redis: Redis) -> None:
    store = JobStore(redis)
    appear(redis, "small", num_slots=1)
    job = job_on(store, num_gpus=2)
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == (job,)
    redis.zadd(keys.PENDING_NOTIFICATIONS, {job: (time.time() - 3) * 1000})
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == ()
    appear(redis, "large", num_slots=2)
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == (job,)


def test_the_registry_says_who_is_here_and_what_they_do(redis: Redis, store: JobStore) -> None:
    registry = appear(redis, "gpu-0", num_slots=2)
    appear(redis, "gpu-1", num_slots=1)
    registry.set_health("gpu-1", "GPU 1 is lost")
    held: Claim = claimed_job(store, worker="gpu-0")
    first, second = registry.all()
    assert (first.name, first.num_slots, first.unhealthy_reason, first.job_id) == (
        *("gpu-0", 2, None),
        held.job.id,
    )
    assert (second.name, second.unhealthy_reason, second.job_id) == ("gpu-1", "GPU 1 is lost", None)
    registry.set_health("gpu-1", None)
    registry.deregister("gpu-0")
    assert [(state.name, state.unhealthy_reason) for state in registry.all()] == [("gpu-1", None)]
