"""Heartbeat of a keeper, or of a similar process, sent after finished rounds."""

import socket
import time
from collections.abc import Callable

from redis import Redis

from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable

PRESENCE_SECONDS = 30.0
"""Seconds without a finished round after which a keeper counts as gone."""
BEAT_SECONDS = 5.0


class KeeperPresence:
    """Heartbeat of this host's keeper, or of another process type through `key_of`.

    Both methods raise StoreUnavailableError.
    """

    def __init__(
        self, redis: Redis, *, name: str | None = None, key_of: Callable[[str], str] = keys.keeper
    ) -> None:
        self._redis = redis
        self._key = key_of(name or socket.gethostname())
        self._beats_at = 0.0

    def appear(self) -> None:
        """Sends a heartbeat if one is due. Rounds are shorter than the interval."""
        now = time.monotonic()
        if now < self._beats_at:
            return
        with unavailable():
            self._redis.set(self._key, 1, px=int(PRESENCE_SECONDS * 1000))
        self._beats_at = now + BEAT_SECONDS

    def is_here(self) -> bool:
        with unavailable():
            return bool(self._redis.exists(self._key))
