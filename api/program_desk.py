"""Runs report and plan programs, a few at a time. Equal requests share one run."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar, cast

from api.http.errors import TooManyReportsError
from api.report_process import ReportPrograms

MAX_RUNNING = 2
_MAX_WAITING = 8
"""Requests that wait for a program, each on a server thread. Beyond this, requests return at once,
with the program still running."""
_MAX_KEPT = 20
"""Maximum number of results that no caller has fetched yet."""

Made = TypeVar("Made")


class ProgramDesk:
    """The reports and plans in progress."""

    def __init__(self) -> None:
        self._programs = ReportPrograms()
        # A program dies with the thread that started it, so these threads live as long as the
        # server.
        self._pool = ThreadPoolExecutor(MAX_RUNNING, thread_name_prefix="report")
        self._lock = threading.Lock()
        self._orders: dict[Hashable, Future[Any]] = {}
        self._may_wait = threading.BoundedSemaphore(_MAX_WAITING)

    def ask(
        self, key: Hashable, make: Callable[[ReportPrograms], Made], *, wait_seconds: float
    ) -> Made | None:
        """Returns the result of `make`, or None while it runs. A later call with an equal key
        returns the result of the first call. Raises TooManyReportsError, and the errors of
        `make`."""
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
        """Kills all running programs."""
        self._programs.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ordered(self, key: Hashable, make: Callable[[ReportPrograms], object]) -> Future[Any]:
        with self._lock:
            if found := self._orders.get(key):
                return found
            if sum(not future.done() for future in self._orders.values()) >= MAX_RUNNING:
                raise TooManyReportsError(
                    f"{MAX_RUNNING} reports or plans are in progress, the limit of this server;"
                    " retry later"
                )
            done = [key for key, future in self._orders.items() if future.done()]
            for old in done[:-_MAX_KEPT]:
                del self._orders[old]
            future = self._pool.submit(make, self._programs)
            self._orders[key] = future
            return future
