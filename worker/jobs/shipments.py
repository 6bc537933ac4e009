"""What the integrations of jobs have still to be told; the keys are in the store's table.

The script that starts or ends a job puts its integrations here in the same step (`ship` in
lua/prelude.lua). What is taken is due again after its lease, so that a shipper that died does not
keep it.
"""

from dataclasses import dataclass
from typing import cast

from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.scripts import Scripts

OUTCOMES = ("done", "failed", "given_up")


@dataclass(frozen=True, slots=True)
class Shipment:
    """One integration of one job, in the hands of one shipper."""

    job_id: str
    type: str
    num_news: int
    """How often there was something to tell, when this was taken."""
    num_failed: int
    """Tries in a row that failed before."""

    @property
    def name(self) -> str:
        return f"{self.job_id}/{self.type}"


@dataclass(frozen=True, slots=True)
class ShipmentCounts:
    num_tries: dict[str, int]
    """By outcome, since the store began; `failed` are tries that are made again."""
    num_waiting: int
    """Integrations that are told something now, or have to be."""


class Shipments:
    """Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def take(self, *, limit: int, lease_seconds: float) -> tuple[Shipment, ...]:
        """What is due, longest first; nobody else gets it before the lease has ended."""
        taken = self._scripts.run("shipment_take", limit, int(lease_seconds * 1000))
        return tuple(Shipment(*name.split("/"), *numbers) for name, *numbers in taken)

    def keep(self, shipment: Shipment, *, lease_seconds: float) -> bool:
        """The lease begins anew; False when there is nothing to ship any more."""
        return bool(self._scripts.run("shipment_keep", shipment.name, int(lease_seconds * 1000)))

    def shown(self, shipment: Shipment, *, url: str, message: str) -> bool:
        """The tracker has the run or model at this address; an event of the job says so once."""
        args = (shipment.job_id, shipment.type, url, message)
        return bool(self._scripts.run("shipment_shown", *args))

    def done(self, shipment: Shipment) -> bool:
        """All is told. What came up meanwhile is due at once."""
        return self._settle(shipment, "done", said="")

    def retry(self, shipment: Shipment, *, pause_seconds: float) -> float | None:
        """The try failed; the next one is due after the pause. Seconds since the first of the
        failures in a row; None when it does not wait any more."""
        since = self._scripts.run("shipment_retry", shipment.name, int(pause_seconds * 1000))
        return None if since is None else int(since) / 1000

    def give_up(self, shipment: Shipment, *, reason: str) -> bool:
        """No more tries until the job starts or ends again; an event of the job says so."""
        return self._settle(shipment, "given_up", said=f'Integration "{shipment.type}": {reason}')

    def _settle(self, shipment: Shipment, outcome: str, *, said: str) -> bool:
        args = (shipment.name, shipment.num_news, outcome, shipment.job_id, said)
        return bool(self._scripts.run("shipment_settle", *args))


def count_shipments(redis: Redis) -> ShipmentCounts:
    """Raises StoreUnavailableError."""
    with unavailable(), redis.pipeline(transaction=False) as pipeline:
        pipeline.hmget(keys.COUNTS, [f"shipments_{outcome}" for outcome in OUTCOMES])
        pipeline.zcard(keys.SHIPMENTS)
        counts, num_waiting = pipeline.execute()
    tries = {name: int(count or 0) for name, count in zip(OUTCOMES, counts, strict=True)}
    return ShipmentCounts(tries, num_waiting=cast(int, num_waiting))
