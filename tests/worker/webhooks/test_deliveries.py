"""Ends of jobs that wait for an endpoint: recorded with the end itself, settled once."""

import time
from collections.abc import Callable

import pytest
from redis import Redis

from tests.worker.controller.lost_store import LosableStore
from tests.worker.scenes import claimed_job, queued_job, spec, wait_until
from worker.jobs.job import JobError, Status, model_id
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.outbox import (
    ALL_OWNERS,
    Delivery,
    WebhookOutbox,
    WebhookSubscription,
    count_webhooks,
)
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Cancelled, Failed, InfraFailure, Succeeded
from worker.jobs.store.store import JobStore

ENDS = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
ERROR = JobError(code="bad_data", message="no")


@pytest.fixture
def deliveries(redis: Redis) -> WebhookOutbox:
    outbox = WebhookOutbox(Scripts(redis, QueuePolicy()))
    outbox.subscribe([wants()])
    return outbox


def wants(
    name: str = "ci", *, owner: str = ALL_OWNERS, statuses: frozenset[Status] = ENDS
) -> WebhookSubscription:
    return WebhookSubscription(name, owner, statuses, max_age_seconds=3600)


def due(outbox: WebhookOutbox, name: str = "ci", *, lease_seconds: float = 60) -> list[Delivery]:
    return list(outbox.claim_due(name, limit=100, lease_seconds=lease_seconds))


def succeeds(store: JobStore) -> str:
    claim = claimed_job(store)
    assert store.leases.finish(claim, Succeeded(model_id(claim.job.id, claim.job.spec)))
    return claim.job.id


def fails(store: JobStore) -> str:
    claim = claimed_job(store)
    assert store.leases.finish(claim, Failed(ERROR))
    return claim.job.id


def is_rejected(store: JobStore) -> str:
    job = store.create(spec())
    assert store.reject(job.id, ERROR)
    return job.id


def is_cancelled_while_it_runs(store: JobStore) -> str:
    claim = claimed_job(store)
    store.cancel(claim.job.id)
    assert store.leases.finish(claim, Cancelled())
    return claim.job.id


def is_cancelled_while_it_waits(store: JobStore) -> str:
    return store.cancel(queued_job(store).id).id


def is_lost_too_often(store: JobStore) -> str:
    claim = claimed_job(store)
    for _ in range(2):
        store.leases.release(
            claim, reason="out of memory", infra_failure=InfraFailure("host_oom", "failures")
        )
        if store.get(claim.job.id).status.is_final:
            return claim.job.id
        again = store.leases.claim(worker="gpu-0", num_slots=8, lease_seconds=60)
        assert again is not None
        claim = again
    raise AssertionError(store.get(claim.job.id))


@pytest.mark.parametrize(
    "end",
    [
        succeeds,
        fails,
        is_rejected,
        is_cancelled_while_it_runs,
        is_cancelled_while_it_waits,
        is_lost_too_often,
    ],
)
def test_every_way_to_end_is_told_once(
    store: JobStore, deliveries: WebhookOutbox, end: Callable[[JobStore], str]
) -> None:
    job = store.get(end(store))
    (delivery,) = due(deliveries)
    assert job.finished_at is not None
    assert (delivery.end.job_id, delivery.end.status) == (job.id, job.status)
    assert delivery.end.created_at == int(job.finished_at)
    assert delivery.number == 1
    assert deliveries.ack(delivery)
    assert not deliveries.ack(delivery)
    assert due(deliveries) == []


def test_an_endpoint_hears_of_its_owner_and_kinds_of_ends_only(
    store: JobStore, deliveries: WebhookOutbox
) -> None:
    failed = frozenset({Status.FAILED})
    deliveries.subscribe([wants(), wants("alice", owner="alice"), wants("failed", statuses=failed)])
    hers = store.create(spec(), owner="alice").id
    bobs = store.create(spec(), owner="bob").id
    store.cancel(hers)
    store.reject(bobs, ERROR)
    told = {
        name: [each.end.job_id for each in due(deliveries, name)]
        for name in ("ci", "alice", "failed")
    }
    assert sorted(told.pop("ci")) == sorted([hers, bobs])
    assert told == {"alice": [hers], "failed": [bobs]}


def test_what_is_taken_is_due_again_after_its_lease_with_the_same_id(
    store: JobStore, deliveries: WebhookOutbox, redis: Redis
) -> None:
    fails(store)
    (first,) = due(deliveries, lease_seconds=0.05)
    wait_until(lambda: redis.zcount(keys.due_webhooks("ci"), "-inf", time.time() * 1000) == 1)
    (again,) = due(deliveries)
    assert (again.event_id, again.number) == (first.event_id, 2)
    assert due(deliveries) == []


def test_a_job_that_was_resumed_and_ends_again_is_another_event(
    store: JobStore, deliveries: WebhookOutbox
) -> None:
    job = store.cancel(queued_job(store).id)
    store.resume(job.id)
    store.cancel(job.id)
    first, second = due(deliveries)
    assert first.event_id != second.event_id
    assert first.end.job_id == second.end.job_id == job.id


def test_a_delivery_that_is_given_up_is_told_to_the_job_and_counted(
    store: JobStore, deliveries: WebhookOutbox, redis: Redis, history: JobHistory
) -> None:
    job_id = fails(store)
    (delivery,) = due(deliveries)
    assert deliveries.retry(delivery, pause_seconds=0)
    (delivery,) = due(deliveries)
    assert deliveries.dead_letter(delivery, reason="gave up after 2 tries; last error: HTTP 500")
    assert not deliveries.dead_letter(delivery, reason="twice")
    assert not deliveries.retry(delivery, pause_seconds=0)
    (event,) = history.events(job_id, limit=1).items
    assert (event.level, event.message) == (
        "warn",
        'Webhook "ci" not delivered: gave up after 2 tries; last error: HTTP 500',
    )
    counts = count_webhooks(redis)
    assert counts.num_tries == {"delivered": 0, "failed": 1, "given_up": 1}
    assert counts.num_waiting == {"ci": 0}


def test_giving_up_on_a_job_that_was_removed_brings_nothing_of_it_back(
    store: JobStore, deliveries: WebhookOutbox, redis: Redis
) -> None:
    job = store.get(fails(store))
    assert store.deleted.delete_old(job, min_age_seconds=0)
    (delivery,) = due(deliveries)
    assert deliveries.dead_letter(delivery, reason="x")
    assert list(redis.scan_iter(f"*{job.id}*")) == []


def test_what_waits_for_an_endpoint_that_is_gone_is_dropped_and_counted(
    store: JobStore, deliveries: WebhookOutbox, redis: Redis
) -> None:
    fails(store)
    assert deliveries.subscribe([wants("other")]) == {"ci": 1}
    assert list(redis.scan_iter("*webhook:*")) == []
    assert deliveries.subscribe([]) == {"other": 0}
    fails(store)
    assert list(redis.scan_iter("*webhook:*")) == []


def test_an_endpoint_that_takes_nothing_does_not_fill_the_store(
    store: JobStore, deliveries: WebhookOutbox, redis: Redis, history: JobHistory
) -> None:
    redis.zadd("flant5:webhook:ci:due", {f"evt_{number}": 1e15 for number in range(10_000)})
    job_id = fails(store)
    (event,) = history.events(job_id, limit=1).items
    assert event.message == 'Webhook "ci" not sent: 10000 others are pending for its endpoint'
    assert count_webhooks(redis).num_waiting == {"ci": 10_000}
    assert count_webhooks(redis).num_tries["given_up"] == 1


def test_a_recovery_tells_what_ended_of_late_again_by_the_same_id_and_nothing_older(
    service: LosableStore,
) -> None:
    outbox = WebhookOutbox(Scripts(service.redis, QueuePolicy()))
    outbox.subscribe([wants()])
    service.cancelled(service.queued())
    (before,) = due(outbox)
    for max_age_seconds, expected in ((3600.0, [before.event_id]), (0.0, [])):
        service.lose_the_store()
        outbox.subscribe([WebhookSubscription("ci", ALL_OWNERS, ENDS, max_age_seconds)])
        service.recover()
        assert [each.event_id for each in due(outbox)] == expected
