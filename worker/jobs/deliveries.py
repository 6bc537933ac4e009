"""The ends of jobs that wait for the webhook endpoints; their keys are in the store's table.

The script that ends a job puts the end beside it, in the same step, for each endpoint that wants
to hear of it (`announce` in lua/prelude.lua): no end is recorded that is not delivered as well,
whoever is killed when. What is taken is due again after its lease, so that a sender that died does
not keep it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict
from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.life import Status
from worker.jobs.scripts import Argument, Scripts

ALL_OWNERS = "*"
OUTCOMES = ("delivered", "failed", "given_up")


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which ends an endpoint is told of."""

    endpoint: str
    owner: str
    """An owner of jobs, or ALL_OWNERS."""
    statuses: frozenset[Status]
    max_age_seconds: float
    """An end that was longer ago when it came to be known is not told."""


class JobEnd(BaseModel):
    """What is told of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    job_id: str
    status: Status
    created_at: int
    """When the job ended, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One end on its way to one endpoint."""

    endpoint: str
    event_id: str
    end: JobEnd
    number: int
    """1 for the first try."""


@dataclass(frozen=True, slots=True)
class WebhookCounts:
    """Figures of all endpoints."""

    num_tries: dict[str, int]
    """By outcome, since the store began; `failed` are tries that are made again."""
    num_waiting: dict[str, int]
    """Ends that wait, by endpoint."""


class Deliveries:
    """Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def subscribe(self, subscriptions: Sequence[Subscription]) -> dict[str, int]:
        """From now on these endpoints and no others are told of ends. What waited for others is
        dropped: how much, by endpoint."""
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
        """The deliveries that are due; nobody else gets them before the lease has ended."""
        lease = int(lease_seconds * 1000)
        return tuple(
            Delivery(endpoint, event, JobEnd.model_validate_json(end), number)
            for event, end, number in self._scripts.run("webhook_take", endpoint, limit, lease)
        )

    def delivered(self, delivery: Delivery) -> bool:
        """False when it had been settled before."""
        return self._settle(delivery, "delivered", said="")

    def retry(self, delivery: Delivery, *, pause_seconds: float) -> bool:
        """The try failed; the next one is due after the pause. False when it had been settled."""
        pause = int(pause_seconds * 1000)
        args = (delivery.endpoint, delivery.event_id, pause)
        return bool(self._scripts.run("webhook_retry", *args))

    def give_up(self, delivery: Delivery, *, reason: str) -> bool:
        """No more tries; an event of the job says so. False when it had been settled before."""
        said = f'Webhook "{delivery.endpoint}" not delivered: {reason}'
        return self._settle(delivery, "given_up", said=said)

    def _settle(self, delivery: Delivery, outcome: str, *, said: str) -> bool:
        args = (delivery.endpoint, delivery.event_id, outcome, delivery.end.job_id, said)
        return bool(self._scripts.run("webhook_settle", *args))


def count_webhooks(redis: Redis) -> WebhookCounts:
    """Raises StoreUnavailableError."""
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
