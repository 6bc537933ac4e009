"""Retention: removes leftovers, and old data if the settings limit their age.

Leftovers are parts of ended uploads, and remains of deleted files. Old data are checkpoints, failed
and cancelled jobs, cache entries, and days of the audit log.

The controller does this every few minutes, a small portion per round. For jobs, the store checks
the age and removes the job, or the list of its checkpoints, in one atomic step. Only then are files
removed, under the lock of the run directory, which every attempt holds. Jobs are deleted as by a
caller's request (`worker.jobs.deletion`). Checkpoints are renamed first: if the controller is
killed, the next round continues.

Cache entries are encoded conversations and file surveys, written by `flant5_train.data.cache` and
`flant5_train.forecast.data`. The former guarantees: the age of `manifest.json` is the time since
the last use, a writer holds the lock `<entry>.lock`, and a reader holds a shared lock on
`tokens.bin`. Each file of the audit log (`api.http.audit`) covers one day in UTC.
"""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from worker.jobs.deletion import Deletions
from worker.jobs.errors import BusyError, InvalidRequestError
from worker.jobs.job import Job, Status, model_id
from worker.jobs.storage.files import FileStore
from worker.jobs.storage.job_files import REMOVED
from worker.jobs.storage.lock import LockedError, take_lock
from worker.jobs.storage.uploads import remove_old_uploads
from worker.jobs.store.store import JobStore
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)


def remove_unused(cache: Path, *, seconds: float) -> Iterator[None]:
    """Checks one entry per iteration and removes it if it is unused for `seconds`."""
    for entry in sorted(path for path in cache.glob("*") if path.is_dir()):
        try:
            if _is_unused(entry, seconds):
                _remove(entry, seconds)
        except FileNotFoundError:
            continue  # another controller removed it first
        except OSError:
            logger.exception("cache: cannot remove %s", entry)
        yield


def _remove(entry: Path, seconds: float) -> None:
    try:
        lock = take_lock(entry.with_name(f"{entry.name}.lock"), patience_seconds=0)
    except LockedError:
        return  # it is being written
    try:
        with _no_readers(entry) as is_free:
            # Checked again: it may have been used before the lock was taken.
            if is_free and _is_unused(entry, seconds):
                # The manifest first: it marks the entry as complete.
                (entry / "manifest.json").unlink(missing_ok=True)
                shutil.rmtree(entry)
                logger.info("cache: removed %s", entry)
    finally:
        os.close(lock)


def _is_unused(entry: Path, seconds: float) -> bool:
    try:
        used_at = (entry / "manifest.json").stat().st_mtime
    except FileNotFoundError:
        used_at = entry.stat().st_mtime  # its writer was killed
    return time.time() - used_at > seconds


@contextmanager
def _no_readers(entry: Path) -> Iterator[bool]:
    """Yields True if nobody reads the entry. Blocks new readers until the context exits."""
    try:
        # Opened for writing: NFS grants exclusive locks on no other descriptor.
        descriptor = os.open(entry / "tokens.bin", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def remove_old_days(audit: Path, *, days: float) -> Iterator[None]:
    """Removes one file per iteration.

    The age of a day is measured from its end and taken from the file name: the modification time
    changes when a file is copied. Files with other names are left alone.
    """
    for file in sorted(audit.glob("*.jsonl")):
        day = _day_of(file)
        if day is None or not _has_expired(day, days):
            continue
        try:
            file.unlink(missing_ok=True)  # another controller may have been there first
            logger.info("audit log: removed %s, older than %g days", file.name, days)
        except OSError:
            logger.exception("audit log: cannot remove %s", file)
        yield


def _day_of(file: Path) -> date | None:
    try:
        return date.fromisoformat(file.stem)
    except ValueError:
        return None


def _has_expired(day: date, days: float) -> bool:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return datetime.now(UTC) - midnight > timedelta(days=days)


PAUSE_SECONDS = 600.0
"""Seconds between two scans of all jobs."""
DAY_SECONDS = 24 * 3600.0
_PAGE = 100


class Retention:
    """Removes old data. Jobs, cache and audit log are kept unless the settings limit their age."""

    def __init__(self, store: JobStore, settings: WorkerSettings) -> None:
        self._store = store
        self._home = settings.home_directories
        self._deletions = Deletions(store, self._home, lock_seconds=0)
        self._jobs_seconds = settings.keep_jobs_days * DAY_SECONDS
        self._checkpoints_seconds = settings.keep_checkpoints_days * DAY_SECONDS
        self._audit_days = settings.keep_audit_days
        self._cache_seconds = settings.keep_cache_days * DAY_SECONDS
        self._portions: Iterator[None] | None = None
        self._due_at = 0.0

    def step(self) -> None:
        """Processes one portion. Raises StoreUnavailableError; the scan then restarts later."""
        if self._portions is None:
            if time.monotonic() < self._due_at:
                return
            self._due_at = time.monotonic() + PAUSE_SECONDS
            self._portions = self._work()
        try:
            next(self._portions)
        except StopIteration:
            self._portions = None
        except BaseException:
            self._portions = None
            raise

    def _work(self) -> Iterator[None]:
        yield from self._remove_old_uploads()
        for file_id in FileStore(self._home, None).remove_abandoned():
            logger.info("file %s: removed leftovers of its deletion", file_id)
        yield
        if self._jobs_seconds or self._checkpoints_seconds:
            ended: list[Job] = []
            in_use: set[str] = set()
            for job in self._all_jobs():
                if job is None:
                    yield
                elif job.status.is_final:
                    ended.append(job)
                else:
                    in_use.add(job.spec.model.partition(":ckpt-step-")[0])
            for job in ended:
                if model_id(job.id, job.spec) not in in_use and self._clean(job):
                    yield
        if self._cache_seconds:
            yield from remove_unused(self._home.cache, seconds=self._cache_seconds)
        if self._audit_days:
            yield from remove_old_days(self._home.audit, days=self._audit_days)

    def _remove_old_uploads(self) -> Iterator[None]:
        for upload_id in remove_old_uploads(self._home.uploads):
            if upload_id:
                logger.info("upload %s: has ended; removed its remaining parts", upload_id)
            yield

    def _all_jobs(self) -> Iterator[Job | None]:
        """Yields all jobs, and None after each page."""
        after: str | None = None
        while True:
            try:
                page = self._store.list(after=after, limit=_PAGE)
            except InvalidRequestError:
                return  # another controller has just removed the job `after`
            yield from page.items
            yield None
            if not page.has_more:
                return
            after = page.items[-1].id

    def _clean(self, job: Job) -> bool:
        """Removes what has expired of a job. Returns False if there was nothing to remove."""
        may_go = job.status in (Status.FAILED, Status.CANCELLED)
        if may_go and _has_ended_for(job, self._jobs_seconds):
            self._delete(job)
        elif _has_ended_for(job, self._checkpoints_seconds) and self._has_checkpoints(job):
            self._remove_checkpoints(job)
        else:
            return False
        return True

    def _delete(self, job: Job) -> None:
        try:
            is_deleted = self._deletions.delete_old_job(job, min_age_seconds=self._jobs_seconds)
        except BusyError as error:
            logger.warning("job %s: cannot clean up: %s", job.id, error)
        except OSError:
            logger.exception("job %s: cleanup is incomplete", job.id)
        else:
            if is_deleted:
                days = self._jobs_seconds / DAY_SECONDS
                logger.info("job %s: removed, %s more than %g days ago", job.id, job.status, days)

    def _remove_checkpoints(self, job: Job) -> None:
        output = self._home.run_directory(job.id).output
        days = self._checkpoints_seconds / DAY_SECONDS
        with self._locked(job.id) as is_mine:
            if not is_mine or not self._store.deleted.delete_checkpoints(
                job.id,
                min_age_seconds=self._checkpoints_seconds,
                reason=f"the job ended more than {days:g} days ago",
            ):
                return
            # Renamed first: otherwise trainers and callers could find a half-deleted checkpoint.
            for checkpoint in sorted(output.glob("checkpoint-*")):
                checkpoint.rename(output / f"{REMOVED}{checkpoint.name}")
            for removed in sorted(output.glob(f"{REMOVED}checkpoint-*")):
                shutil.rmtree(removed)
            logger.info("job %s: checkpoints removed", job.id)

    def _has_checkpoints(self, job: Job) -> bool:
        output = self._home.run_directory(job.id).output
        return any(output.glob("*checkpoint-*"))

    @contextmanager
    def _locked(self, job_id: str) -> Iterator[bool]:
        """Yields False while a process of an attempt is alive.

        Files that cannot be removed are logged, and the next round retries.
        """
        run_directory = self._home.run_directory(job_id)
        try:
            lock = take_lock(run_directory.lock, patience_seconds=0)
        except (LockedError, OSError) as error:
            logger.warning("job %s: cannot clean up: %s", job_id, error)
            yield False
            return
        try:
            yield True
        except OSError:
            logger.exception("job %s: cleanup is incomplete", job_id)
        finally:
            os.close(lock)


def _has_ended_for(job: Job, seconds: float) -> bool:
    """Returns True if the job ended longer ago than `seconds` (0: never).

    Uses the local clock to save a request. The store decides by its own clock.
    """
    return bool(seconds) and job.finished_at is not None and time.time() - job.finished_at > seconds
