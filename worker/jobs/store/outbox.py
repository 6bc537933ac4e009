"""The webhook outbox: ends of jobs pending for each endpoint. The store's table lists its keys.

The script that ends a job queues the end for each subscribed endpoint in the same step (`announce`
in lua/prelude.lua). So each recorded end is also delivered, whichever process is killed. A delivery
is due again when its lease expires, in case its sender died.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict
from redis import Redis

from worker.jobs.life import Status
from worker.jobs.scripts import Argument, Scripts
from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable

ALL_OWNERS = "*"
OUTCOMES = ("delivered", "failed", "given_up")


@dataclass(frozen=True, slots=True)
class Subscription:
    """The job ends that an endpoint receives."""

    endpoint: str
    owner: str
    """An owner of jobs, or ALL_OWNERS."""
    statuses: frozenset[Status]
    max_age_seconds: float
    """Ends that are older when they are recorded are not sent."""


class JobEnd(BaseModel):
    """Webhook payload: the end of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    job_id: str
    status: Status
    created_at: int
    """End of the job, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a job end to one endpoint."""

    endpoint: str
    event_id: str
    end: JobEnd
    number: int
    """Number of the try, from 1."""


@dataclass(frozen=True, slots=True)
class WebhookCounts:
    """Webhook counters of all endpoints."""

    num_tries: dict[str, int]
    """Tries by outcome, since the store was created; `failed` tries are retried."""
    num_waiting: dict[str, int]
    """Pending ends by endpoint."""


class Deliveries:
    """The outbox. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def subscribe(self, subscriptions: Sequence[Subscription]) -> dict[str, int]:
        """Replaces all subscriptions. Drops the pending ends of removed endpoints and returns
        their number by endpoint."""
        arguments: list[Argument] = []
        for each in subscriptions:
            wants = {
                "owner": each.owner,
                "statuses": {status.value: True for status in sorted(each.statuses)},
                "max_age_ms": round(each.max_age_seconds * 1000),
            }
            arguments += [each.endpoint, json.dumps(wants)]
        return dict(self._scripts.run("webhook_subscribe", *arguments))

    def take(self, endpoint: str, *, limit: int, lease_seconds: float) -> tuple[Delivery, ...]:
        """Takes due deliveries; no other sender gets them before the lease expires."""
        lease = int(lease_seconds * 1000)
        return tuple(
            Delivery(endpoint, event, JobEnd.model_validate_json(end), number)
            for event, end, number in self._scripts.run("webhook_take", endpoint, limit, lease)
        )

    def delivered(self, delivery: Delivery) -> bool:
        """Marks a delivery as delivered; False if it was settled before."""
        return self._settle(delivery, "delivered", said="")

    def retry(self, delivery: Delivery, *, pause_seconds: float) -> bool:
        """Reschedules a failed delivery after the pause; False if it was settled before."""
        pause = int(pause_seconds * 1000)
        args = (delivery.endpoint, delivery.event_id, pause)
        return bool(self._scripts.run("webhook_retry", *args))

    def give_up(self, delivery: Delivery, *, reason: str) -> bool:
        """Stops retrying, and records that in an event of the job; False if settled before."""
        said = f'Webhook "{delivery.endpoint}" not delivered: {reason}'
        return self._settle(delivery, "given_up", said=said)

    def _settle(self, delivery: Delivery, outcome: str, *, said: str) -> bool:
        args = (delivery.endpoint, delivery.event_id, outcome, delivery.end.job_id, said)
        return bool(self._scripts.run("webhook_settle", *args))


def count_webhooks(redis: Redis) -> WebhookCounts:
    """Returns the counters. Raises StoreUnavailableError."""
    with unavailable():
        names = sorted(cast(list[str], redis.hkeys(keys.WEBHOOKS)))
    with unavailable(), redis.pipeline(transaction=False) as pipeline:
        pipeline.hmget(keys.COUNTS, [f"webhooks_{outcome}" for outcome in OUTCOMES])
        for name in names:
            pipeline.zcard(keys.due_webhooks(name))
        counts, *sizes = pipeline.execute()
    return WebhookCounts(
        num_tries={name: int(count or 0) for name, count in zip(OUTCOMES, counts, strict=True)},
        num_waiting=dict(zip(names, sizes, strict=True)),
    )
