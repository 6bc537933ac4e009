"""Where programs are run for callers: a few at a time, each once however many ask for it."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar, cast

from api.errors import TooManyReportsError
from api.report_process import ReportPrograms

MAX_RUNNING = 2
_MAX_WAITING = 8
"""Requests that wait for a program; another one is told at once that it is running. Each takes a
thread of the server."""
_MAX_KEPT = 20
"""Results that nobody has fetched yet."""

Made = TypeVar("Made")


class ProgramDesk:
    """The reports and plans that are being made."""

    def __init__(self) -> None:
        self._programs = ReportPrograms()
        # Its threads live as long as the server: a program dies with the thread that started it.
        self._pool = ThreadPoolExecutor(MAX_RUNNING, thread_name_prefix="report")
        self._lock = threading.Lock()
        self._orders: dict[Hashable, Future[Any]] = {}
        self._may_wait = threading.BoundedSemaphore(_MAX_WAITING)

    def ask(
        self, key: Hashable, make: Callable[[ReportPrograms], Made], *, wait_seconds: float
    ) -> Made | None:
        """What `make` returns, or None while it runs; asked again with an equal key, what was begun
        the first time. Raises what `make` raises, and TooManyReportsError."""
        future = self._ordered(key, make)
        if not future.done() and self._may_wait.acquire(blocking=False):
            try:
                wait([future], timeout=wait_seconds)
            finally:
                self._may_wait.release()
        if not future.done():
            return None
        with self._lock:
            self._orders.pop(key, None)
        return cast(Made, future.result())

    def close(self) -> None:
        """Ends what is being made."""
        self._programs.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ordered(self, key: Hashable, make: Callable[[ReportPrograms], object]) -> Future[Any]:
        with self._lock:
            if found := self._orders.get(key):
                return found
            if sum(not future.done() for future in self._orders.values()) >= MAX_RUNNING:
                raise TooManyReportsError(
                    f"{MAX_RUNNING} reports and plans are being made, and no more at a time; ask"
                    " again"
                )
            done = [key for key, future in self._orders.items() if future.done()]
            for old in done[:-_MAX_KEPT]:
                del self._orders[old]
            future = self._pool.submit(make, self._programs)
            self._orders[key] = future
            return future
