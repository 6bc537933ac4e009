"""Compares what the disk says of a job with how the store has it.

The store may be ahead at any time: a wish is written to disk after the store has taken it. It is
behind only when it lost something. Read the disk first, the store after it: else what happens
between the two looks like a loss.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from worker.attempts.attempt_record import read_attempt
from worker.attempts.result import read_result
from worker.jobs.home import Home
from worker.jobs.ledger import JobRecord, Ledger
from worker.jobs.life import Status
from worker.jobs.lock import LockedError, take_lock
from worker.jobs.standing import Standing
from worker.jobs.store import JobStore
from worker.jobs.tombstones import Tombstones


class Difference(Enum):
    """In which way the store is behind the disk."""

    MISSING = auto()
    """It does not know the job."""
    OLDER = auto()
    """An attempt, an end or a resume of the job is on disk only, or its history is."""
    WISHED = auto()
    """A cancellation, a pause or the end of one is on disk only."""


@dataclass(frozen=True, slots=True)
class DiskState:
    """What the run directory says of a job."""

    record: JobRecord
    attempt_epoch: int
    """-1 before the first attempt."""
    result_epoch: int
    """-1 without a result."""
    is_locked: bool
    """Whether a process of an attempt is alive."""


def read_disk_state(home: Home, job_id: str) -> DiskState:
    """Raises OSError, and ValueError for a file that is not what it should be."""
    run_directory = home.run_directory(job_id)
    attempt = read_attempt(run_directory.attempt)
    result = read_result(run_directory.result)
    return DiskState(
        record=Ledger(home).read(job_id),
        attempt_epoch=-1 if attempt is None else attempt.epoch,
        result_epoch=-1 if result is None else result.epoch,
        is_locked=_is_locked(home, job_id),
    )


def compare(disk: DiskState, standing: Standing | None) -> Difference | None:
    """Returns None when the store is as far as the disk."""
    if standing is None:
        return Difference.MISSING
    is_wished = disk.record.wished_at > standing.wished_at
    is_resumed = is_wished and disk.record.result_floor > standing.result_floor
    is_attempted = disk.attempt_epoch > standing.epoch
    if is_resumed or is_attempted or _is_end_missing(disk, standing):
        return Difference.OLDER
    return Difference.WISHED if is_wished else None


@dataclass(frozen=True, slots=True)
class Compared:
    """Both sides of a job."""

    disk: DiskState
    standing: Standing | None
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A job whose files are not what they should be."""

    reason: str
    is_known: bool = False
    """To the store, which goes on without the files."""


class Differences:
    """Of many jobs at once."""

    def __init__(self, store: JobStore, home: Home) -> None:
        self._store = store
        self._home = home
        self._tombstones = Tombstones(home)

    def look(self, job_ids: Sequence[str]) -> dict[str, Compared | Unreadable]:
        """By id, without the jobs that are deleted. Raises StoreUnavailableError."""
        disk = {job_id: self._read(job_id) for job_id in job_ids}
        standings = dict(zip(job_ids, self._store.standings(job_ids), strict=True))
        # What was deleted, or is being deleted, stays so.
        deleted = {*self._store.ended.forgotten(), *filter(self._tombstones.has, job_ids)}
        return {
            job_id: _compared(state, standings[job_id])
            for job_id, state in disk.items()
            if state is not None and job_id not in deleted
        }

    def _read(self, job_id: str) -> DiskState | Unreadable | None:
        """None for a job that was deleted meanwhile."""
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
    """Of a job that has ended in the store only its history may be missing."""
    if disk.result_epoch <= max(disk.record.result_floor, standing.result_floor):
        return False
    if standing.status.is_final:
        return not standing.has_history
    # The worker of a running job reports the end after it has written it; it holds the lock.
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
