"""Registry of the live serving processes. `worker.jobs.store.inference` lists its keys."""

import secrets
from typing import cast

from redis import Redis

from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable

PRESENCE_SECONDS = 10.0
"""Time without a heartbeat after which a serving process counts as gone."""


class ChatServers:
    """The registry. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def appear(self, server: str, *, device: str = "") -> None:
        """Registers a serving process, or renews it: it expires after PRESENCE_SECONDS. `device`
        holds its models."""
        with unavailable():
            now = self._now()
            with self._redis.pipeline() as pipeline:
                pipeline.zadd(keys.CHAT_SERVERS, {server: now + PRESENCE_SECONDS * 1000})
                pipeline.set(keys.chat_device(server), device, px=int(PRESENCE_SECONDS * 1000))
                pipeline.zremrangebyscore(keys.CHAT_SERVERS, 0, now - 1)
                pipeline.execute()

    def leave(self, server: str) -> None:
        with unavailable():
            self._redis.zrem(keys.CHAT_SERVERS, server)
            self._redis.delete(keys.chat_device(server))

    def all(self) -> frozenset[str]:
        """Returns the names of the live serving processes."""
        with unavailable():
            found = self._redis.zrangebyscore(keys.CHAT_SERVERS, self._now(), "+inf")
        return frozenset(cast(list[str], found))

    def devices(self) -> dict[str, str]:
        """Returns the device of each live serving process by name; "" if it reports none."""
        servers = sorted(self.all())
        if not servers:
            return {}
        with unavailable():
            found = self._redis.mget([keys.chat_device(server) for server in servers])
        devices = (device or "" for device in cast(list[str | None], found))
        return dict(zip(servers, devices, strict=True))

    def _now(self) -> int:
        """Returns the Redis server's clock, in ms: the clocks of hosts differ."""
        seconds, microseconds = self._redis.time()
        return seconds * 1000 + microseconds // 1000


def new_server(name: str) -> str:
    """Returns a name for this run of a serving process. After a restart it has another name, and
    its unfinished answers are lost."""
    return f"{name}:{secrets.token_hex(4)}"
