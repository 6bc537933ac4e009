"""Writes `job.json` to match the store. Nothing is acknowledged before it is on disk."""

import logging
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.http.errors import StorageFailedError
from worker.jobs.errors import (
    InvalidRequestError,
    JobsError,
    NotFoundError,
    StorageFullError,
    StoreUnavailableError,
)
from worker.jobs.job import Job
from worker.jobs.storage.filesystem import is_full
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.storage.paths import Home
from worker.jobs.store.store import JobStore

_NUM_LOCKS = 64

_log = logging.getLogger(__name__)


class Recorder:
    """Writes job records. Every method raises StoreUnavailableError. If the disk rejects the
    record, it raises StorageFullError or StorageFailedError."""

    def __init__(self, store: JobStore, home: Home) -> None:
        self._store = store
        self._home = home
        self._job_records = JobRecordStore(home)
        # Of two concurrent requests for a job, the last to read must be the last to write.
        self._locks = tuple(threading.Lock() for _ in range(_NUM_LOCKS))

    def record(self, job_id: str) -> Job:
        """Returns the job as it is in the store, after writing it to disk."""
        with self._alone_with(job_id):
            job = self._store.get(job_id)
            try:
                self._job_records.write(job)
            except OSError as error:
                raise disk_error(
                    error,
                    f"job {job_id} is now {_state_of(job)}, but this could not be written to disk "
                    f"({error.strerror}) and would be lost with the store; repeat the request "
                    "when the disk works",
                ) from error
            return job

    def record_new(self, job_id: str, *, confirm: Callable[[], None]) -> Job | None:
        """Records a submitted job and returns it. Returns None if an earlier try could not record
        it and cancelled it. If the job can't be recorded now, it is cancelled. If `confirm` raises
        InvalidRequestError, the job is cancelled and the error propagates."""
        with self._alone_with(job_id):
            job = self._store.get(job_id)
            try:
                # The job was acknowledged: a retry must not cancel it.
                if self._home.run_directory(job_id).job_record.exists():
                    return job
                if job.is_given_up:
                    return None
                confirm()
                self._job_records.write(job)
            except InvalidRequestError as error:
                self._give_up(job_id, reason=str(error))
                raise
            except OSError as error:
                outcome = self._give_up(job_id, reason=f"cannot write its record: {error}")
                raise disk_error(
                    error,
                    f"the job could not be written to disk ({error.strerror}); {outcome}",
                ) from error
            return job

    def _give_up(self, job_id: str, *, reason: str) -> str:
        """Cancels the job and returns the outcome as text."""
        _log.error("job %s: cancelling before acknowledgement: %s", job_id, reason)
        try:
            self._store.cancel_by_system(job_id)
        except StoreUnavailableError as error:
            return f"job {job_id} may still run, because it could not be cancelled: {error}"
        except (InvalidRequestError, NotFoundError) as error:
            # It ended before it was acknowledged: there is nothing to cancel.
            _log.info("job %s: already ended, not cancelling: %s", job_id, error)
        try:
            # The record may exist if only the final sync of its directory failed.
            self._job_records.delete(job_id)
        except OSError as error:
            _log.error("job %s: cannot remove its record: %s", job_id, error)
        return f"job {job_id} was cancelled: submit it again when the disk works"

    @contextmanager
    def _alone_with(self, job_id: str) -> Iterator[None]:
        with self._locks[zlib.crc32(job_id.encode()) % _NUM_LOCKS]:
            yield


def _state_of(job: Job) -> str:
    if job.is_cancelling:
        return "being cancelled"
    return "being paused" if job.is_pausing else job.status.value


def disk_error(error: OSError, message: str) -> JobsError:
    """Returns the error response to a disk error."""
    if is_full(error):
        return StorageFullError(message)
    return StorageFailedError(message)
