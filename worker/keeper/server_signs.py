"""Signs that a server's data may have changed: restart, failover, evictions, rollback."""

from dataclasses import dataclass
from typing import Any

from redis import Redis

from worker.jobs.store.redis import unavailable
from worker.keeper.store_mark import Mark, StoreMark


@dataclass(frozen=True, slots=True)
class ServerSigns:
    """Signs read from the server at one time."""

    identity: tuple[str, str]
    """Ids of the process and of its data set. A restart, a failover or a resynchronization changes
    one of them."""
    num_evicted: int
    """Keys evicted since the server started."""
    mark: Mark


def read_signs(redis: Redis) -> ServerSigns:
    """Reads the signs. Raises StoreUnavailableError."""
    with unavailable():
        info: dict[str, Any] = redis.info("server", "replication", "stats")
    return ServerSigns(
        identity=(str(info.get("run_id", "")), str(info.get("master_replid", ""))),
        num_evicted=int(info.get("evicted_keys", 0)),
        mark=StoreMark(redis).read(),
    )
