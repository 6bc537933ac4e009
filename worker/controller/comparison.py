"""Compares the state of jobs on disk with their state in the store.

The store may be ahead at any time: it accepts a request before the request is written to disk. It
is behind only if it lost data. Read the disk before the store: otherwise a change between the two
reads would look like a loss.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from worker.execution.records import read_attempt, read_result
from worker.jobs.job import Status
from worker.jobs.storage.job_record import JobRecord, JobRecordStore
from worker.jobs.storage.lock import LockedError, take_lock
from worker.jobs.storage.paths import Home
from worker.jobs.storage.tombstones import Tombstones
from worker.jobs.store.recovery import Standing
from worker.jobs.store.store import JobStore


class StoreDifference(Enum):
    """The kind of difference of a store that is behind the disk."""

    MISSING = auto()
    """The store does not have the job."""
    OLDER = auto()
    """An attempt, outcome or resume of the job, or its history, is only on disk."""
    REQUESTED = auto()
    """A cancellation, a pause or the end of a pause is only on disk."""


@dataclass(frozen=True, slots=True)
class DiskState:
    """State of a job according to its run directory."""

    record: JobRecord
    attempt_epoch: int
    """-1 before the first attempt."""
    result_epoch: int
    """-1 without a result."""
    is_locked: bool
    """True while a process of an attempt is alive."""


def read_disk_state(home: Home, job_id: str) -> DiskState:
    """Reads the state of a job. Raises OSError, and ValueError for an invalid file."""
    run_directory = home.run_directory(job_id)
    attempt = read_attempt(run_directory.attempt)
    result = read_result(run_directory.result)
    return DiskState(
        record=JobRecordStore(home).read(job_id),
        attempt_epoch=-1 if attempt is None else attempt.epoch,
        result_epoch=-1 if result is None else result.epoch,
        is_locked=_is_locked(home, job_id),
    )


def compare(disk: DiskState, standing: Standing | None) -> StoreDifference | None:
    """Returns the difference, or None if the store is not behind the disk."""
    if standing is None:
        return StoreDifference.MISSING
    is_wished = disk.record.wished_at > standing.wished_at
    is_resumed = is_wished and disk.record.result_floor > standing.result_floor
    is_attempted = disk.attempt_epoch > standing.epoch
    if is_resumed or is_attempted or _is_end_missing(disk, standing):
        return StoreDifference.OLDER
    return StoreDifference.REQUESTED if is_wished else None


@dataclass(frozen=True, slots=True)
class Compared:
    """A job's state on disk and in the store."""

    disk: DiskState
    standing: Standing | None
    difference: StoreDifference | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A job with unreadable or invalid files."""

    reason: str
    is_known: bool = False
    """True if the store has the job. The store does not need the files."""


class Differences:
    """Compares many jobs at once."""

    def __init__(self, store: JobStore, home: Home) -> None:
        self._store = store
        self._home = home
        self._tombstones = Tombstones(home)

    def look(self, job_ids: Sequence[str]) -> dict[str, Compared | Unreadable]:
        """Returns the comparisons by job id, without deleted jobs. Raises StoreUnavailableError."""
        disk = {job_id: self._read(job_id) for job_id in job_ids}
        standings = dict(zip(job_ids, self._store.standings(job_ids), strict=True))
        # Jobs that were deleted, or are being deleted, stay deleted.
        deleted = {*self._store.deleted.unfinished(), *filter(self._tombstones.has, job_ids)}
        return {
            job_id: _compared(state, standings[job_id])
            for job_id, state in disk.items()
            if state is not None and job_id not in deleted
        }

    def _read(self, job_id: str) -> DiskState | Unreadable | None:
        """Returns None for a job that was deleted in the meantime."""
        try:
            return read_disk_state(self._home, job_id)
        except (OSError, ValueError) as error:
            has_record = self._home.run_directory(job_id).job_record.exists()
            return Unreadable(str(error)) if has_record else None


def _compared(disk: DiskState | Unreadable, standing: Standing | None) -> Compared | Unreadable:
    if isinstance(disk, DiskState):
        return Compared(disk, standing, compare(disk, standing))
    return replace(disk, is_known=standing is not None)


def _is_end_missing(disk: DiskState, standing: Standing) -> bool:
    """Returns True if the store lacks the outcome on disk, or the history of an ended job."""
    if disk.result_epoch <= max(disk.record.result_floor, standing.result_floor):
        return False
    if standing.status.is_final:
        return not standing.has_history
    # A worker writes the outcome to disk before it reports it, and holds the lock meanwhile.
    is_reported_now = standing.status is Status.RUNNING and disk.is_locked
    return disk.result_epoch >= standing.epoch and not is_reported_now


def _is_locked(home: Home, job_id: str) -> bool:
    lock = home.run_directory(job_id).lock
    if not lock.exists():
        return False
    try:
        os.close(take_lock(lock, patience_seconds=0))
    except LockedError:
        return True
    return False
