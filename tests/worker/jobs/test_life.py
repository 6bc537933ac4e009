"""The table of a job's life against the scripts: every transition from every status."""

from collections.abc import Callable

import pytest
from redis import Redis

from tests.worker.scenes import claimed_job, queued_job, spec
from worker.jobs import keys
from worker.jobs.errors import InvalidRequestError
from worker.jobs.job import JobError
from worker.jobs.life import NEXT, Status
from worker.jobs.store import JobStore
from worker.jobs.update import Cancelled, Claim, Failed, Outcome, Succeeded

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


TRANSITIONS: dict[str, Transition] = {
    "accept": lambda store, _, claim: store.accept(claim.job.id),
    "reject": lambda store, _, claim: store.reject(claim.job.id, ERROR),
    "claim": lambda store, _, claim: store.leases.claim(claim.job.id, worker="w", lease_seconds=9),
    "beat": lambda store, _, claim: store.leases.beat(claim, 9),
    "finish: succeeded": lambda store, _, claim: store.leases.finish(claim, Succeeded("ft:x")),
    "finish: failed": lambda store, _, claim: store.leases.finish(claim, Failed(ERROR)),
    "finish: cancelled": lambda store, _, claim: store.leases.finish(claim, Cancelled()),
    "release": lambda store, _, claim: store.leases.release(claim, reason="x"),
    "release: lost": lambda store, _, claim: store.leases.release(claim, reason="x", loss=LOST),
    "release worker": lambda store, _, claim: store.leases.release_worker("gpu-0"),
    "reap": reap,
    "cancel": cancel,
    "bells": lambda store, _, claim: store.leases.bells(0, 10),
}


def bring_to(store: JobStore, status: Status) -> Claim:
    """A job of that status, and the claim it has or could have had."""
    if status in (Status.VALIDATING_FILES, Status.QUEUED):
        waiting = store.create(spec()) if status is Status.VALIDATING_FILES else queued_job(store)
        return Claim(job=waiting, epoch=0, attempt=0, offsets=claimed_job(store).offsets)
    claim = claimed_job(store)
    outcomes: dict[Status, Outcome] = {
        Status.SUCCEEDED: Succeeded("ft:x"),
        Status.FAILED: Failed(ERROR),
        Status.CANCELLED: Cancelled(),
    }
    if status in outcomes:
        assert store.leases.finish(claim, outcomes[status])
    return claim


@pytest.mark.parametrize("name", TRANSITIONS)
@pytest.mark.parametrize("status", list(Status))
def test_no_transition_makes_a_step_that_is_not_in_the_table(
    store: JobStore, redis: Redis, status: Status, name: str
) -> None:
    claim = bring_to(store, status)
    TRANSITIONS[name](store, redis, claim)
    after = store.get(claim.job.id).status
    assert after is status or after in NEXT[status]
    indexes = {
        found
        for found, key in (
            (Status.VALIDATING_FILES, keys.VALIDATING),
            (Status.QUEUED, keys.QUEUED),
            (Status.RUNNING, keys.RUNNING),
        )
        if redis.zscore(key, claim.job.id) is not None
    }
    assert indexes == (set() if after.is_final else {after})


def test_every_step_of_the_table_can_be_made(redis: Redis) -> None:
    store = JobStore(redis, max_losses=1)
    made: dict[Status, set[Status]] = {status: set() for status in Status}
    for status in Status:
        for transition in TRANSITIONS.values():
            redis.flushall()
            claim = bring_to(store, status)
            transition(store, redis, claim)
            made[status].add(store.get(claim.job.id).status)
    assert {status: steps - {status} for status, steps in made.items()} == {
        status: set(steps) for status, steps in NEXT.items()
    }
