"""The sign of life of a keeper, or of a like process, given after each round that it finished."""

import socket
import time
from collections.abc import Callable

from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable

PRESENCE_SECONDS = 30.0
"""Time after which a keeper that finished no round counts as gone."""
BEAT_SECONDS = 5.0


class KeeperPresence:
    """The keeper of this host name, or the process with another kind of key. Both methods raise
    StoreUnavailableError."""

    def __init__(
        self, redis: Redis, *, name: str | None = None, key_of: Callable[[str], str] = keys.keeper
    ) -> None:
        self._redis = redis
        self._key = key_of(name or socket.gethostname())
        self._beats_at = 0.0

    def appear(self) -> None:
        """Rounds are short: most of them say nothing."""
        now = time.monotonic()
        if now < self._beats_at:
            return
        with unavailable():
            self._redis.set(self._key, 1, px=int(PRESENCE_SECONDS * 1000))
        self._beats_at = now + BEAT_SECONDS

    def is_here(self) -> bool:
        with unavailable():
            return bool(self._redis.exists(self._key))
