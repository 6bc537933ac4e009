"""The outbox of the integrations: pending exports of jobs. The store's table lists its keys.

The script that starts or ends a job queues its integrations here in the same step (`ship` in
lua/prelude.lua). An export is due again when its lease expires, in case its shipper died.
"""

from dataclasses import dataclass
from typing import cast

from redis import Redis

from worker.jobs.scripts import Scripts
from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable

OUTCOMES = ("done", "failed", "given_up")


@dataclass(frozen=True, slots=True)
class Shipment:
    """One integration of one job, leased by one shipper."""

    job_id: str
    type: str
    num_news: int
    """Number of changes to export when this was taken."""
    num_failed: int
    """Number of failed tries in a row before this one."""

    @property
    def name(self) -> str:
        return f"{self.job_id}/{self.type}"


@dataclass(frozen=True, slots=True)
class ShipmentCounts:
    num_tries: dict[str, int]
    """Tries by outcome, since the store was created; `failed` tries are retried."""
    num_waiting: int
    """Integrations with pending or running exports."""


class Shipments:
    """The outbox. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def take(self, *, limit: int, lease_seconds: float) -> tuple[Shipment, ...]:
        """Takes due exports, the longest overdue first. No other shipper gets them before the lease
        expires."""
        taken = self._scripts.run("shipment_take", limit, int(lease_seconds * 1000))
        return tuple(Shipment(*name.split("/"), *numbers) for name, *numbers in taken)

    def keep(self, shipment: Shipment, *, lease_seconds: float) -> bool:
        """Renews the lease; False if there is nothing left to export."""
        return bool(self._scripts.run("shipment_keep", shipment.name, int(lease_seconds * 1000)))

    def shown(self, shipment: Shipment, *, url: str, message: str) -> bool:
        """Records the address of the run or model in an event of the job, once."""
        args = (shipment.job_id, shipment.type, url, message)
        return bool(self._scripts.run("shipment_shown", *args))

    def done(self, shipment: Shipment) -> bool:
        """Marks an export as done. Changes since it was taken are due at once."""
        return self._settle(shipment, "done", said="")

    def retry(self, shipment: Shipment, *, pause_seconds: float) -> float | None:
        """Reschedules a failed export after the pause. Returns the seconds since the first failure
        in a row; None if it is no longer pending."""
        since = self._scripts.run("shipment_retry", shipment.name, int(pause_seconds * 1000))
        return None if since is None else int(since) / 1000

    def give_up(self, shipment: Shipment, *, reason: str) -> bool:
        """Stops retrying until the job starts or ends again, and records that in an event."""
        return self._settle(shipment, "given_up", said=f'Integration "{shipment.type}": {reason}')

    def _settle(self, shipment: Shipment, outcome: str, *, said: str) -> bool:
        args = (shipment.name, shipment.num_news, outcome, shipment.job_id, said)
        return bool(self._scripts.run("shipment_settle", *args))


def count_shipments(redis: Redis) -> ShipmentCounts:
    """Returns the counters. Raises StoreUnavailableError."""
    with unavailable(), redis.pipeline(transaction=False) as pipeline:
        pipeline.hmget(keys.COUNTS, [f"shipments_{outcome}" for outcome in OUTCOMES])
        pipeline.zcard(keys.SHIPMENTS)
        counts, num_waiting = pipeline.execute()
    tries = {name: int(count or 0) for name, count in zip(OUTCOMES, counts, strict=True)}
    return ShipmentCounts(tries, num_waiting=cast(int, num_waiting))
