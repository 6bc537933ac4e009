"""Parts shared by the controller and similar processes: heartbeat, configuration file, health
check.

- The heartbeat is sent after finished rounds.
- The operator manages the file with accounts, addresses and keys. It is reloaded when it changes.
- A container health check prints nothing and exits with 0, or prints one line and exits with 1.
"""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError
from redis import Redis

from worker.jobs.errors import StoreUnavailableError
from worker.jobs.settings import settings_fault
from worker.jobs.store import keys
from worker.jobs.store.redis import translate_redis_errors

PRESENCE_SECONDS = 30.0
"""Seconds without a finished round after which a controller counts as gone."""
BEAT_SECONDS = 5.0


class DaemonPresence:
    """Heartbeat of this host's controller, or of another process type through `key_of`.

    Both methods raise StoreUnavailableError.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        name: str | None = None,
        key_of: Callable[[str], str] = keys.controller,
    ) -> None:
        self._redis = redis
        self._key = key_of(name or socket.gethostname())
        self._beats_at = 0.0

    def register(self) -> None:
        """Sends a heartbeat if one is due. Rounds are shorter than the interval."""
        now = time.monotonic()
        if now < self._beats_at:
            return
        with translate_redis_errors():
            self._redis.set(self._key, 1, px=int(PRESENCE_SECONDS * 1000))
        self._beats_at = now + BEAT_SECONDS

    def is_alive(self) -> bool:
        with translate_redis_errors():
            return bool(self._redis.exists(self._key))


Content = TypeVar("Content")


class ReloadingConfigFile(Generic[Content]):
    """Reloads the file when it changes. An invalid file leaves the last valid content in place."""

    def __init__(self, path: Path, read: Callable[[Path], Content]) -> None:
        """Raises the errors of `read` if the file is invalid."""
        self._path = path
        self._read = read
        # Before reading: the next `refresh` then detects a change made in between.
        self._state = self._look()
        self.content = read(path)

    def refresh(self) -> bool:
        """Returns True if the content has changed.

        Raises the errors of `read`, once per change to an invalid file.
        """
        state = self._look()
        if state == self._state:
            return False
        self._state = state
        before, self.content = self.content, self._read(self._path)
        return before != self.content

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def exit_code(trouble: Callable[[], str | None]) -> int:
    """Prints the result of `trouble` and returns the exit code.

    Invalid settings and an unreachable Redis count as trouble.
    """
    try:
        found = trouble()
    except ValidationError as error:
        found = f"the settings are wrong: {settings_fault(error)}"
    except (StoreUnavailableError, ValueError) as error:
        found = str(error)
    if found is not None:
        print(found, file=sys.stderr)  # noqa: T201
    return 0 if found is None else 1
