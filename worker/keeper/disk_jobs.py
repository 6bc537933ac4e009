"""The jobs that have a record on disk, known without reading the whole directory each round."""

import os
import time

from worker.jobs.home import Home

_RELIST_SECONDS = 60.0
"""Time after which the directory is listed though it seems unchanged: a shared file system may
show an old time of it."""


class DiskJobs:
    """The ids under HOME/jobs. A deleted job may stay among them for a minute."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._ids: set[str] = set()
        self._without_record: set[str] = set()
        self._changed_at = -1
        self._listed_at = 0.0

    def ids(self) -> frozenset[str]:
        """Raises OSError when the directory can't be read."""
        self._look_for_new()
        begun = {each for each in self._without_record if self._has_record(each)}
        self._ids |= begun
        self._without_record -= begun
        return frozenset(self._ids)

    def newest_first(self) -> tuple[str, ...]:
        """By the last change in the run directory: what a store loses first is what came last."""
        return tuple(sorted(self.ids(), key=self._last_change, reverse=True))

    def drop(self, job_id: str) -> None:
        """The job's record is gone."""
        self._ids.discard(job_id)

    def _look_for_new(self) -> None:
        try:
            changed_at = self._home.jobs.stat().st_mtime_ns
        except FileNotFoundError:
            self._ids, self._without_record = set(), set()
            return
        is_due = time.monotonic() - self._listed_at > _RELIST_SECONDS
        if changed_at == self._changed_at and not is_due:
            return
        found = set(os.listdir(self._home.jobs))
        self._ids &= found
        self._without_record = found - self._ids
        self._changed_at, self._listed_at = changed_at, time.monotonic()

    def _has_record(self, job_id: str) -> bool:
        return self._home.run_directory(job_id).job_record.exists()

    def _last_change(self, job_id: str) -> float:
        try:
            return self._home.run_directory(job_id).path.stat().st_mtime
        except FileNotFoundError:
            return 0.0
