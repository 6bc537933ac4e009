"""Redis as it was some seconds ago: its append-only file, cut where it ended then.

A file that ends in the middle of a command, or of the effects of a script, is read up to that
command or script (`aof-load-truncated yes`, the default).
"""

import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis, exceptions

from tests.stack.parts import Parts
from worker.controller.store_mark import MarkFile
from worker.jobs.storage.store_losses import DataLoss
from worker.jobs.store import keys

NOTE_SECONDS = 0.25
KEPT_SECONDS = 60.0
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Length:
    """How long the append-only file was at one moment."""

    at: float
    path: Path
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Rollback:
    """One that was done; instants are Unix seconds."""

    at: float
    back_at: float
    """When the server answered again."""
    seconds: float
    """Age of the state it came back with."""
    num_lost: int
    """Changes that the controller had on disk and the server lost."""


class AofHistory:
    """Notes the length of the file again and again, in a thread; a context manager."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._directory = parts.service.home / "redis" / "appendonlydir"
        self._lengths: deque[Length] = deque()
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aof", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def roll_back(self, *, seconds: float, away_seconds: float) -> Rollback | None:
        """Returns when the server answers again; None when there is no state of that age, or it is
        away already."""
        redis = self._parts["redis"]
        then = self._length_at(time.time() - seconds)
        if then is None or not redis.is_alive:
            return None
        with self._lock:
            at = time.time()
            redis.kill(away_seconds=away_seconds)
            if then.path != self._newest():
                return None  # rewritten meanwhile
            os.truncate(then.path, then.num_bytes)
            while self._lengths and self._lengths[-1].num_bytes > then.num_bytes:
                self._lengths.pop()
        marked = MarkFile(self._parts.service.home / "store.json").read().number
        number = self._number_when_back()
        return Rollback(at, time.time(), at - then.at, max(0, marked - number))

    def _length_at(self, at: float) -> Length | None:
        with self._lock:
            older = [length for length in self._lengths if length.at <= at]
        return older[-1] if older else None

    def _number_when_back(self) -> int:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with self._parts.open_redis() as redis:
                    return _number(redis)
            except (exceptions.ConnectionError, exceptions.TimeoutError):
                assert time.monotonic() < deadline, "Redis does not come back"
                time.sleep(0.02)

    def _run(self) -> None:
        while not self._is_over.wait(NOTE_SECONDS):
            with self._lock:
                path = self._newest()
                if path is not None:
                    self._lengths.append(Length(time.time(), path, path.stat().st_size))
                while self._lengths and self._lengths[0].at < time.time() - KEPT_SECONDS:
                    self._lengths.popleft()

    def _newest(self) -> Path | None:
        files = sorted(self._directory.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
        return files[-1] if files else None


def read_losses(home: Path) -> list[DataLoss]:
    """What the controllers have reported."""
    path = home / "losses.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [DataLoss.model_validate_json(line) for line in lines]


def _number(redis: Redis) -> int:
    return int(redis.hget(keys.MARK, "number") or 0)
