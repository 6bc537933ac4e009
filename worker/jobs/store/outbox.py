"""Outboxes: pending webhooks, pending exports to integrations, and the configured integrations.

The store's table lists their keys. The script that starts or ends a job adds to the outboxes in the
same step (`announce` and `ship` in lua/prelude.lua). It queues the end for each subscribed webhook
endpoint, and the job for its integrations. So each recorded end is also delivered, whichever
process is killed. An entry is due again when its lease expires, in case its sender died.

`IntegrationRegistry` lists the configured integrations and the owners who may use them. The process
that holds the accounts publishes it to the API, without any secret.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict
from redis import Redis

from worker.jobs.errors import InvalidRequestError
from worker.jobs.integrations import HubIntegration, HubRepository, Integration
from worker.jobs.job import Status
from worker.jobs.store import keys
from worker.jobs.store.redis import Argument, Scripts, translate_redis_errors

ALL_OWNERS = "*"
OUTCOMES = ("delivered", "failed", "given_up")


@dataclass(frozen=True, slots=True)
class WebhookSubscription:
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


class WebhookOutbox:
    """The outbox. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def subscribe(self, subscriptions: Sequence[WebhookSubscription]) -> dict[str, int]:
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

    def claim_due(self, endpoint: str, *, limit: int, lease_seconds: float) -> tuple[Delivery, ...]:
        """Takes due deliveries; no other sender gets them before the lease expires."""
        lease = int(lease_seconds * 1000)
        return tuple(
            Delivery(endpoint, event, JobEnd.model_validate_json(end), number)
            for event, end, number in self._scripts.run("webhook_claim", endpoint, limit, lease)
        )

    def ack(self, delivery: Delivery) -> bool:
        """Marks a delivery as delivered; False if it was settled before."""
        return self._settle(delivery, "delivered", event_text="")

    def retry(self, delivery: Delivery, *, pause_seconds: float) -> bool:
        """Reschedules a failed delivery after the pause; False if it was settled before."""
        pause = int(pause_seconds * 1000)
        args = (delivery.endpoint, delivery.event_id, pause)
        return bool(self._scripts.run("webhook_retry", *args))

    def dead_letter(self, delivery: Delivery, *, reason: str) -> bool:
        """Stops retrying, and records that in an event of the job; False if settled before."""
        event_text = f'Webhook "{delivery.endpoint}" not delivered: {reason}'
        return self._settle(delivery, "given_up", event_text=event_text)

    def _settle(self, delivery: Delivery, outcome: str, *, event_text: str) -> bool:
        args = (delivery.endpoint, delivery.event_id, outcome, delivery.end.job_id, event_text)
        return bool(self._scripts.run("webhook_settle", *args))


def count_webhooks(redis: Redis) -> WebhookCounts:
    """Returns the counters. Raises StoreUnavailableError."""
    with translate_redis_errors():
        names = sorted(cast(list[str], redis.hkeys(keys.WEBHOOKS)))
    with translate_redis_errors(), redis.pipeline(transaction=False) as pipeline:
        pipeline.hmget(keys.COUNTS, [f"webhooks_{outcome}" for outcome in OUTCOMES])
        for name in names:
            pipeline.zcard(keys.due_webhooks(name))
        counts, *sizes = pipeline.execute()
    return WebhookCounts(
        num_tries={name: int(count or 0) for name, count in zip(OUTCOMES, counts, strict=True)},
        num_waiting=dict(zip(names, sizes, strict=True)),
    )


EXPORT_OUTCOMES = ("done", "failed", "given_up")


@dataclass(frozen=True, slots=True)
class PendingExport:
    """One integration of one job, leased by one scheduler."""

    job_id: str
    type: str
    num_changes: int
    """Number of changes to export when this was taken."""
    num_failed: int
    """Number of failed tries in a row before this one."""

    @property
    def name(self) -> str:
        return f"{self.job_id}/{self.type}"


@dataclass(frozen=True, slots=True)
class ExportCounts:
    num_tries: dict[str, int]
    """Tries by outcome, since the store was created; `failed` tries are retried."""
    num_waiting: int
    """Integrations with pending or running exports."""


class ExportOutbox:
    """The outbox. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def claim_due(self, *, limit: int, lease_seconds: float) -> tuple[PendingExport, ...]:
        """Takes due exports, the longest overdue first. No other scheduler gets them before the
        lease expires."""
        taken = self._scripts.run("export_claim", limit, int(lease_seconds * 1000))
        return tuple(PendingExport(*name.split("/"), *numbers) for name, *numbers in taken)

    def renew(self, pending: PendingExport, *, lease_seconds: float) -> bool:
        """Renews the lease; False if there is nothing left to export."""
        return bool(self._scripts.run("export_renew", pending.name, int(lease_seconds * 1000)))

    def record_url(self, pending: PendingExport, *, url: str, message: str) -> bool:
        """Records the address of the run or model in an event of the job, once."""
        args = (pending.job_id, pending.type, url, message)
        return bool(self._scripts.run("export_record_url", *args))

    def ack(self, pending: PendingExport) -> bool:
        """Marks an export as done. Changes since it was taken are due at once."""
        return self._settle(pending, "done", event_text="")

    def retry(self, pending: PendingExport, *, pause_seconds: float) -> float | None:
        """Reschedules a failed export after the pause. Returns the seconds since the first failure
        in a row; None if it is no longer pending."""
        since = self._scripts.run("export_retry", pending.name, int(pause_seconds * 1000))
        return None if since is None else int(since) / 1000

    def dead_letter(self, pending: PendingExport, *, reason: str) -> bool:
        """Stops retrying until the job starts or ends again, and records that in an event."""
        return self._settle(
            pending, "given_up", event_text=f'Integration "{pending.type}": {reason}'
        )

    def _settle(self, pending: PendingExport, outcome: str, *, event_text: str) -> bool:
        args = (pending.name, pending.num_changes, outcome, pending.job_id, event_text)
        return bool(self._scripts.run("export_settle", *args))


def count_exports(redis: Redis) -> ExportCounts:
    """Returns the counters. Raises StoreUnavailableError."""
    with translate_redis_errors(), redis.pipeline(transaction=False) as pipeline:
        pipeline.hmget(keys.COUNTS, [f"shipments_{outcome}" for outcome in EXPORT_OUTCOMES])
        pipeline.zcard(keys.SHIPMENTS)
        counts, num_waiting = pipeline.execute()
    tries = {name: int(count or 0) for name, count in zip(EXPORT_OUTCOMES, counts, strict=True)}
    return ExportCounts(tries, num_waiting=cast(int, num_waiting))


_NAMESPACES = ":namespaces"
"""Suffix of the field that lists the namespaces to which jobs may write."""


class IntegrationRegistry:
    """The registry. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._scripts = scripts

    def publish(
        self,
        owners: Mapping[str, Sequence[str]],
        *,
        namespaces: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Replaces the allowed types, each with its owners (or ALL_OWNERS). A type in `namespaces`
        is limited to them. Returns once this is on the server's disk."""
        arguments: list[Argument] = []
        for kind, names in owners.items():
            arguments += [kind, json.dumps(list(names))]
        for kind, names in (namespaces or {}).items():
            arguments += [f"{kind}{_NAMESPACES}", json.dumps(list(names))]
        self._scripts.run_durably("integrations_publish", *arguments)

    def types(self) -> tuple[str, ...]:
        """Returns the types that any owner may use."""
        return published_types(self._redis)

    def allowed_for(self, owner: str) -> tuple[str, ...]:
        """Returns the types that this owner may use."""
        return _types_for(owner, self._published())

    def check(self, integrations: Sequence[Integration], *, owner: str) -> None:
        """Raises InvalidRequestError for an integration that is not configured for this owner."""
        if not integrations:
            return
        offered = self._published()
        here = _types_for(owner, offered)
        for number, each in enumerate(integrations):
            if each.type not in here:
                raise InvalidRequestError(
                    f"integrations.{number}: {each.type!r} is not configured for your API key. "
                    f"Available: {', '.join(here) or 'none'}. The operator can add [{each.type}] "
                    "to the file in FLANT5_INTEGRATIONS_FILE and run `python -m "
                    "worker.integrations` (docs/integrations.md)",
                    param=f"integrations.{number}.type",
                )
            if isinstance(each, HubIntegration):
                allowed = offered.get(f"{each.type}{_NAMESPACES}")
                _refuse_namespace(each.huggingface, allowed, number=number)

    def _published(self) -> dict[str, list[str]]:
        return _published_in(self._redis)


def published_types(redis: Redis) -> tuple[str, ...]:
    """Returns the types that any owner may use. Raises StoreUnavailableError."""
    return tuple(sorted(name for name in _published_in(redis) if not name.endswith(_NAMESPACES)))


def _published_in(redis: Redis) -> dict[str, list[str]]:
    with translate_redis_errors():
        offered = cast(dict[str, str], redis.hgetall(keys.INTEGRATIONS))
    return {name: json.loads(names) for name, names in offered.items()}


def _types_for(owner: str, offered: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(
        sorted(
            kind
            for kind, owners in offered.items()
            if not kind.endswith(_NAMESPACES) and {ALL_OWNERS, owner} & set(owners)
        )
    )


def _refuse_namespace(place: HubRepository, allowed: Sequence[str] | None, *, number: int) -> None:
    if allowed is not None and place.namespace not in allowed:
        raise InvalidRequestError(
            f"integrations.{number}.huggingface.repository: found the namespace "
            f"{place.namespace!r}; expected one that the operator allows: "
            f"{', '.join(allowed) or 'none'} (namespaces of [huggingface] in the file in "
            "FLANT5_INTEGRATIONS_FILE)",
            param=f"integrations.{number}.huggingface.repository",
        )
