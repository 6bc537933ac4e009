"""The signs by which a server shows that its data may be other than before."""

from dataclasses import dataclass
from typing import Any

from redis import Redis

from worker.jobs.connection import unavailable
from worker.jobs.mark import Mark, StoreMark


@dataclass(frozen=True, slots=True)
class ServerSigns:
    """What one look at the server shows."""

    identity: tuple[str, str]
    """Ids of the process and of its data set; a restart, a failover and a resynchronization change
    one of them."""
    num_evicted: int
    """Keys evicted since the server started."""
    mark: Mark


def read_signs(redis: Redis) -> ServerSigns:
    """Raises StoreUnavailableError."""
    with unavailable():
        info: dict[str, Any] = redis.info("server", "replication", "stats")
    return ServerSigns(
        identity=(str(info.get("run_id", "")), str(info.get("master_replid", ""))),
        num_evicted=int(info.get("evicted_keys", 0)),
        mark=StoreMark(redis).read(),
    )
