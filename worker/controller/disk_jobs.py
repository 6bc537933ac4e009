"""Lists the jobs with a record on disk, without reading the whole directory each round."""

import os
import time
from collections import deque
from collections.abc import Iterable

from worker.jobs.storage.paths import Home

SLICE_SECONDS = 0.25
"""Seconds that one call spends on run directories. On a network file system, a hundred thousand of
them take a minute."""
_RELIST_SECONDS = 60.0
"""Seconds after which the directory is listed even if it seems unchanged: a shared file system may
report an old modification time."""


class DiskJobs:
    """The ids under HOME/jobs. A deleted job may stay among them for a minute."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._ids: set[str] = set()
        self._without_record: deque[str] = deque()
        self._changed_at = -1
        self._listed_at = 0.0

    def ids(self) -> frozenset[str]:
        """Returns the known job ids. Checks new directories in turn, for one time slice per call.

        Raises OSError if the directory cannot be read.
        """
        self._look_for_new()
        deadline = time.monotonic() + SLICE_SECONDS
        for _ in range(len(self._without_record)):
            job_id = self._without_record.popleft()
            if self._has_record(job_id):
                self._ids.add(job_id)
            else:
                self._without_record.append(job_id)
            if time.monotonic() > deadline:
                break
        return frozenset(self._ids)

    def newest_first(self) -> "NewestFirst":
        """Returns all jobs, including those that `ids` has not checked yet, for ordering.

        Raises OSError if the directory cannot be read.
        """
        self._look_for_new()
        return NewestFirst(self._home, [*self._ids, *self._without_record])

    def drop(self, job_id: str) -> None:
        """Removes a job whose record no longer exists."""
        self._ids.discard(job_id)

    def _look_for_new(self) -> None:
        try:
            changed_at = self._home.jobs.stat().st_mtime_ns
        except FileNotFoundError:
            self._ids, self._without_record = set(), deque()
            return
        is_due = time.monotonic() - self._listed_at > _RELIST_SECONDS
        if changed_at == self._changed_at and not is_due:
            return
        found = set(os.listdir(self._home.jobs))
        self._ids &= found
        unknown = found - self._ids
        in_turn = [each for each in self._without_record if each in unknown]
        self._without_record = deque([*in_turn, *unknown.difference(in_turn)])
        self._changed_at, self._listed_at = changed_at, time.monotonic()

    def _has_record(self, job_id: str) -> bool:
        return self._home.run_directory(job_id).job_record.exists()


class NewestFirst:
    """Orders jobs by the last change in the run directory, in time slices.

    Newest first, because a store loses the latest changes first.
    """

    def __init__(self, home: Home, job_ids: Iterable[str]) -> None:
        self._home = home
        self._left = deque(job_ids)
        self._dated: list[tuple[float, str]] = []

    def step(self) -> tuple[str, ...] | None:
        """Returns all jobs once they are in order, None before."""
        deadline = time.monotonic() + SLICE_SECONDS
        while self._left:
            self._dated.append((self._last_change(self._left[0]), self._left.popleft()))
            if time.monotonic() > deadline and self._left:
                return None
        return tuple(job_id for _, job_id in sorted(self._dated, reverse=True))

    def _last_change(self, job_id: str) -> float:
        try:
            return self._home.run_directory(job_id).path.stat().st_mtime
        except FileNotFoundError:
            return 0.0
