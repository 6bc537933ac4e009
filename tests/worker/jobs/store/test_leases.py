import time

import pytest
from redis import Redis

from tests.worker.scenes import LEASE_SECONDS, claim_again, claimed_job
from worker.jobs.job import Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.serialization import (
    Cancelled,
    Claim,
    HeartbeatDirective,
    InfraFailure,
    NewCheckpoint,
    NewEvent,
    Succeeded,
    Update,
)
from worker.jobs.store.store import JobStore

LOST = InfraFailure("worker_lost")


def lose(redis: Redis, store: JobStore, claim: Claim) -> tuple[str, ...]:
    """The lease runs out and the controller comes by."""
    redis.zadd(keys.RUNNING, {claim.job.id: 1})
    return store.leases.reap(10)


def test_a_beat_extends_the_lease(store: JobStore, redis: Redis) -> None:
    claim = claimed_job(store)
    redis.zadd(keys.RUNNING, {claim.job.id: time.time() * 1000 + 500})
    assert store.leases.heartbeat(claim, LEASE_SECONDS) is HeartbeatDirective.GO_ON
    until = redis.zscore(keys.RUNNING, claim.job.id)
    assert until is not None
    assert until / 1000 - time.time() > LEASE_SECONDS - 30
    assert store.leases.reap(10) == ()


def test_a_beat_tells_of_the_cancellation(store: JobStore) -> None:
    claim = claimed_job(store)
    store.cancel(claim.job.id)
    assert store.leases.heartbeat(claim, LEASE_SECONDS) is HeartbeatDirective.CANCEL


def test_a_lease_that_ran_out_puts_the_job_back(
    store: JobStore, redis: Redis, history: JobHistory
) -> None:
    claim = claimed_job(store, worker="gpu-3")
    assert lose(redis, store, claim) == (claim.job.id,)
    job = store.get(claim.job.id)
    assert (job.status, job.worker) == (Status.QUEUED, None)
    assert job.epoch > claim.epoch
    last = history.events(job.id).items[0]
    assert (last.level, last.message) == (
        "warn",
        "Job queued again: no heartbeat from worker gpu-3",
    )


def test_the_old_holder_changes_nothing_any_more(store: JobStore, redis: Redis) -> None:
    old = claimed_job(store)
    lose(redis, store, old)
    new = claim_again(store, old.job.id, worker="gpu-1")
    before = redis.hgetall(keys.job(old.job.id))
    assert store.leases.heartbeat(old, LEASE_SECONDS) is HeartbeatDirective.LOST
    assert not store.leases.record(old, Update(events=(NewEvent("x"),), phase="training"))
    assert not store.leases.finish(old, Succeeded("ft:old"))
    assert not store.leases.finish(old, Cancelled())
    assert store.leases.release(old, reason="x", infra_failure=LOST) is Status.RUNNING
    assert redis.hgetall(keys.job(old.job.id)) == before
    assert store.models.all() == {}
    assert store.leases.heartbeat(new, LEASE_SECONDS) is HeartbeatDirective.GO_ON


def test_a_job_that_is_given_back_gets_its_attempt_back(store: JobStore) -> None:
    claim = claimed_job(store)
    assert store.leases.release(claim, reason="the worker stops") is Status.QUEUED
    again = claim_again(store, claim.job.id)
    assert again.attempt == 1
    assert again.epoch > claim.epoch
    assert again.job.started_at == claim.job.started_at


def test_losses_in_a_row_end_the_job(redis: Redis) -> None:
    store = JobStore(redis, QueuePolicy(max_infra_retries=3, retry_seconds=0))
    claim = claimed_job(store)
    for _ in range(2):
        assert (
            store.leases.release(claim, reason="rank killed", infra_failure=LOST) is Status.QUEUED
        )
        claim = claim_again(store, claim.job.id)
    assert store.leases.release(claim, reason="rank killed", infra_failure=LOST) is Status.FAILED
    error = store.get(claim.job.id).error
    assert error is not None
    assert error.code == "worker_lost"
    assert error.message.startswith("3 attempts in a row were lost")
    assert error.message.endswith("rank killed")


def test_a_checkpoint_forgives_earlier_losses(redis: Redis) -> None:
    store = JobStore(redis, QueuePolicy(max_infra_retries=2, retry_seconds=0))
    claim = claimed_job(store)
    for step in (10, 20, 30):
        assert store.leases.release(claim, reason="lost", infra_failure=LOST) is Status.QUEUED
        claim = claim_again(store, claim.job.id)
        checkpoint = NewCheckpoint(step=step, path=f"output/checkpoint-{step}", metrics={})
        assert store.leases.record(claim, Update(checkpoints=(checkpoint,)))
    assert store.leases.release(claim, reason="lost", infra_failure=LOST) is Status.QUEUED


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_cancelled_job_does_not_go_back_into_the_queue(store: JobStore, is_lost: bool) -> None:
    claim = claimed_job(store)
    store.cancel(claim.job.id)
    assert (
        store.leases.release(claim, reason="x", infra_failure=LOST if is_lost else None)
        is Status.CANCELLED
    )


def test_a_cancelled_job_whose_worker_is_lost_is_cancelled(store: JobStore, redis: Redis) -> None:
    claim = claimed_job(store)
    store.cancel(claim.job.id)
    lose(redis, store, claim)
    assert store.get(claim.job.id).status is Status.CANCELLED


def test_a_restarted_worker_gives_back_its_own_jobs_only(store: JobStore) -> None:
    mine, other = claimed_job(store, worker="gpu-0"), claimed_job(store, worker="gpu-1")
    assert store.leases.release_worker("gpu-0") == (mine.job.id,)
    assert store.get(mine.job.id).status is Status.QUEUED
    assert store.get(other.job.id).status is Status.RUNNING
    assert store.leases.release_worker("gpu-1", only=mine.job.id) == ()
    assert store.leases.release_worker("gpu-1", only=other.job.id) == (other.job.id,)


def test_no_more_jobs_are_reaped_than_asked_for(store: JobStore, redis: Redis) -> None:
    claims = [claimed_job(store) for _ in range(3)]
    redis.zadd(keys.RUNNING, {claim.job.id: 1 for claim in claims})
    assert len(store.leases.reap(2)) == 2
    assert len(store.leases.reap(2)) == 1
