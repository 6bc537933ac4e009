"""The table of a job's life against the scripts: every transition from every status."""

from collections.abc import Callable
from contextlib import suppress
from itertools import product

import pytest
from redis import Redis

from tests.worker.scenes import claimed_job, queued_job, spec
from worker.jobs.errors import InvalidRequestError
from worker.jobs.job import ALLOWED_TRANSITIONS, JobError, Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.serialization import (
    Cancelled,
    Claim,
    Failed,
    InfraFailure,
    Offsets,
    Outcome,
    Succeeded,
)
from worker.jobs.store.store import JobStore

VALIDATING, QUEUED, RUNNING = Status.VALIDATING_FILES, Status.QUEUED, Status.RUNNING
LOST = InfraFailure("worker_lost")
ERROR = JobError(code="bad_data", message="x")

Transition = Callable[[JobStore, Redis, Claim], object]


def reap(store: JobStore, redis: Redis, claim: Claim) -> None:
    redis.zadd(keys.RUNNING, {claim.job.id: 1}, xx=True)
    store.leases.reap(10)


def cancel(store: JobStore, redis: Redis, claim: Claim) -> None:
    if store.get(claim.job.id).status.is_final:
        with pytest.raises(InvalidRequestError):
            store.cancel(claim.job.id)
    else:
        store.cancel(claim.job.id)


def pause_and_release(store: JobStore, redis: Redis, claim: Claim) -> None:
    wished(store.pause, claim)
    store.leases.release(claim, reason="x")


def wished(step: Callable[[str], object], claim: Claim) -> None:
    with suppress(InvalidRequestError):
        step(claim.job.id)


def claim_any(store: JobStore) -> Claim | None:
    return store.leases.claim(worker="w", num_slots=8, lease_seconds=9)


TRANSITIONS: dict[str, Transition] = {
    "accept": lambda store, _, claim: store.accept(claim.job.id),
    "reject": lambda store, _, claim: store.reject(claim.job.id, ERROR),
    "claim": lambda store, _, claim: claim_any(store),
    "beat": lambda store, _, claim: store.leases.heartbeat(claim, 9),
    "finish: succeeded": lambda store, _, claim: store.leases.finish(claim, Succeeded("ft:x")),
    "finish: failed": lambda store, _, claim: store.leases.finish(claim, Failed(ERROR)),
    "finish: cancelled": lambda store, _, claim: store.leases.finish(claim, Cancelled()),
    "release": lambda store, _, claim: store.leases.release(claim, reason="x"),
    "release: lost": lambda store, _, claim: store.leases.release(
        claim, reason="x", infra_failure=LOST
    ),
    "release: pause": pause_and_release,
    "release worker": lambda store, _, claim: store.leases.release_worker("gpu-0"),
    "reap": reap,
    "cancel": cancel,
    "release: failure": lambda store, _, claim: store.leases.release(
        claim, reason="x", infra_failure=InfraFailure("host_oom", counts_as="failures")
    ),
    "pause": lambda store, _, claim: wished(store.pause, claim),
    "resume": lambda store, _, claim: wished(store.resume, claim),
    "bells": lambda store, _, claim: store.leases.pending_notifications(0, 10),
}


def bring_to(store: JobStore, status: Status) -> Claim:
    """A job of that status, and the claim it has or could have had."""
    if status in (Status.VALIDATING_FILES, Status.QUEUED):
        waiting = store.create(spec()) if status is Status.VALIDATING_FILES else queued_job(store)
        return Claim(job=waiting, epoch=0, attempt=0, offsets=Offsets())
    claim = claimed_job(store)
    if status is Status.PAUSED:
        store.pause(claim.job.id)
        store.leases.release(claim, reason="x")
    outcomes: dict[Status, Outcome] = {
        Status.SUCCEEDED: Succeeded("ft:x"),
        Status.FAILED: Failed(ERROR),
        Status.CANCELLED: Cancelled(),
    }
    if status in outcomes:
        assert store.leases.finish(claim, outcomes[status])
    return claim


def bring_to_unchecked(store: JobStore, status: Status) -> Claim:
    """As `bring_to`, for a job whose files were never found good."""
    job = store.create(spec())
    if status is Status.FAILED:
        store.reject(job.id, ERROR)
    elif status is Status.CANCELLED:
        store.cancel(job.id)
    elif status is Status.PAUSED:
        store.pause(job.id)
    else:
        return bring_to(store, status)
    return Claim(job=job, epoch=0, attempt=0, offsets=Offsets())


@pytest.mark.parametrize("name", TRANSITIONS)
@pytest.mark.parametrize("status", list(Status))
def test_no_transition_makes_a_step_that_is_not_in_the_table(
    store: JobStore, redis: Redis, status: Status, name: str
) -> None:
    claim = bring_to(store, status)
    TRANSITIONS[name](store, redis, claim)
    after = store.get(claim.job.id).status
    assert after is status or after in ALLOWED_TRANSITIONS[status]
    indexes = {
        found
        for found, key in (
            (VALIDATING, keys.VALIDATING),
            (QUEUED, keys.QUEUED),
            (RUNNING, keys.RUNNING),
        )
        if redis.zscore(key, claim.job.id) is not None
    }
    assert indexes == ({after} if after in (VALIDATING, QUEUED, RUNNING) else set())


def test_every_step_of_the_table_can_be_made(redis: Redis) -> None:
    store = JobStore(redis, QueuePolicy(max_infra_retries=1))
    made: dict[Status, set[Status]] = {status: set() for status in Status}
    for status in Status:
        for bring, transition in product((bring_to, bring_to_unchecked), TRANSITIONS.values()):
            redis.flushall()
            claim = bring(store, status)
            transition(store, redis, claim)
            made[status].add(store.get(claim.job.id).status)
    assert {status: steps - {status} for status, steps in made.items()} == {
        status: set(steps) for status, steps in ALLOWED_TRANSITIONS.items()
    }
