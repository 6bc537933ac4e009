"""What integrations have to be told waits from the start and the end of a job on, settled once."""

import pytest
from redis import Redis

from tests.worker.controller.lost_store import LosableStore
from tests.worker.scenes import claim_again, claimed_job, queued_job
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.outbox import ExportOutbox, PendingExport, count_exports
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Cancelled
from worker.jobs.store.store import JobStore

TYPES = ("mlflow", "wandb")
INTEGRATIONS = [
    {"type": "wandb", "wandb": {"project": "chats"}},
    {"type": "mlflow", "mlflow": {"experiment": "chats"}},
]


@pytest.fixture
def shipments(redis: Redis) -> ExportOutbox:
    return ExportOutbox(Scripts(redis, QueuePolicy()))


def due(outbox: ExportOutbox) -> dict[str, PendingExport]:
    return {each.type: each for each in outbox.claim_due(limit=100, lease_seconds=60)}


def test_a_start_and_an_end_are_told_and_nothing_before(
    store: JobStore, shipments: ExportOutbox
) -> None:
    job = queued_job(store, integrations=INTEGRATIONS)
    assert due(shipments) == {}
    claim = claim_again(store, job.id)
    taken = due(shipments)
    assert tuple(sorted(taken)) == TYPES
    assert {each.job_id for each in taken.values()} == {job.id}
    assert due(shipments) == {}, "leased"
    assert all(shipments.ack(each) for each in taken.values())
    assert not any(shipments.ack(each) for each in taken.values())
    store.cancel(job.id)
    assert store.leases.finish(claim, Cancelled())
    assert tuple(sorted(due(shipments))) == TYPES


def test_an_end_that_comes_while_somebody_is_at_it_is_not_lost(
    store: JobStore, shipments: ExportOutbox
) -> None:
    claim = claimed_job(store, integrations=INTEGRATIONS[:1])
    taken = due(shipments)["wandb"]
    store.cancel(claim.job.id)
    assert store.leases.finish(claim, Cancelled())
    assert due(shipments) == {}, "nobody else gets it"
    assert shipments.ack(taken)
    assert due(shipments)["wandb"].num_changes == 2


def test_a_shipper_that_died_does_not_keep_what_it_took(
    store: JobStore, shipments: ExportOutbox
) -> None:
    claimed_job(store, integrations=INTEGRATIONS[:1])
    (taken,) = shipments.claim_due(limit=1, lease_seconds=0)
    assert shipments.claim_due(limit=1, lease_seconds=60) == (taken,)
    assert shipments.renew(taken, lease_seconds=0)
    assert shipments.claim_due(limit=1, lease_seconds=60) == (taken,)


def test_failures_are_counted_until_it_is_shown(
    store: JobStore, shipments: ExportOutbox, history: JobHistory, redis: Redis
) -> None:
    claim = claimed_job(store, integrations=INTEGRATIONS[:1])
    for number in range(3):
        taken = due(shipments)["wandb"]
        assert taken.num_failed == number
        assert shipments.retry(taken, pause_seconds=0) is not None
    assert [
        shipments.record_url(taken, url="http://w/1", message="W: http://w/1") for _ in "12"
    ] == [
        True,
        False,
    ]
    assert due(shipments)["wandb"].num_failed == 0
    assert shipments.dead_letter(taken, reason="given up; no")
    assert shipments.retry(taken, pause_seconds=0) is None
    said = [each.message for each in history.events_since(claim.job.id).items]
    assert said[-2:] == ["W: http://w/1", 'Integration "wandb": given up; no']
    counts = count_exports(redis)
    assert counts.num_tries == {"done": 0, "failed": 3, "given_up": 1}
    assert counts.num_waiting == 0


def test_a_deleted_job_keeps_nothing_here(
    store: JobStore, shipments: ExportOutbox, redis: Redis
) -> None:
    claimed_job(store, integrations=INTEGRATIONS[:1])
    (taken,) = due(shipments).values()
    redis.delete(keys.job(taken.job_id), keys.events(taken.job_id))
    assert shipments.dead_letter(taken, reason="gone")
    assert not shipments.record_url(taken, url="http://w/1", message="W")
    assert redis.keys(f"{keys.SHIPMENTS}*") == []
    assert redis.exists(keys.job(taken.job_id)) == 0
    assert redis.exists(keys.events(taken.job_id)) == 0


def test_a_recovery_tells_them_again(service: LosableStore) -> None:
    outbox = ExportOutbox(Scripts(service.redis, QueuePolicy()))
    service.cancelled(service.queued(integrations=INTEGRATIONS[:1]))
    assert due(outbox).keys() == {"wandb"}
    service.lose_the_store()
    assert due(outbox) == {}
    service.recover()
    assert due(outbox).keys() == {"wandb"}
