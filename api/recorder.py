"""Nothing is acknowledged before it is on disk: brings `job.json` to what the store says."""

import logging
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.errors import StorageFailedError
from worker.jobs.errors import (
    InvalidRequestError,
    JobsError,
    NotFoundError,
    StorageFullError,
    StoreUnavailableError,
)
from worker.jobs.home import Home
from worker.jobs.job import Job
from worker.jobs.ledger import Ledger
from worker.jobs.room import is_full
from worker.jobs.store import JobStore

_NUM_LOCKS = 64

_log = logging.getLogger(__name__)


class Recorder:
    """Every method raises StoreUnavailableError, and StorageFullError or StorageFailedError when
    the disk does not take the record."""

    def __init__(self, store: JobStore, home: Home) -> None:
        self._store = store
        self._home = home
        self._ledger = Ledger(home)
        # Of two requests about one job the one that reads last must write last.
        self._locks = tuple(threading.Lock() for _ in range(_NUM_LOCKS))

    def record(self, job_id: str) -> Job:
        """The job as it stands in the store and on disk."""
        with self._alone_with(job_id):
            job = self._store.get(job_id)
            try:
                self._ledger.write(job)
            except OSError as error:
                raise disk_error(
                    error,
                    f"job {job_id} is now {_state_of(job)}, but that could not be written to disk "
                    f"({error.strerror}) and would be forgotten with the store; send it again "
                    "when the disk takes it",
                ) from error
            return job

    def record_new(self, job_id: str, *, confirm: Callable[[], None]) -> Job | None:
        """The job of a submission, on disk; None when an earlier try of the submission could not
        record it and gave it up. A job that can't be recorded now is given up: it is cancelled.
        So is one that `confirm` raises InvalidRequestError for, which goes on to the caller."""
        with self._alone_with(job_id):
            job = self._store.get(job_id)
            try:
                # An acknowledged job: a retry has nothing to add, and must not give it up.
                if self._home.run_directory(job_id).job_record.exists():
                    return job
                if job.is_given_up:
                    return None
                confirm()
                self._ledger.write(job)
            except InvalidRequestError as error:
                self._give_up(job_id, reason=str(error))
                raise
            except OSError as error:
                outcome = self._give_up(job_id, reason=f"it can't be recorded: {error}")
                raise disk_error(
                    error,
                    f"the job could not be written to disk ({error.strerror}); {outcome}",
                ) from error
            return job

    def _give_up(self, job_id: str, *, reason: str) -> str:
        """What became of the job."""
        _log.error("job %s is cancelled before it was acknowledged: %s", job_id, reason)
        try:
            self._store.give_up(job_id)
        except StoreUnavailableError as error:
            return f"job {job_id} may run nevertheless, because it can't be cancelled now: {error}"
        except (InvalidRequestError, NotFoundError) as error:
            # It ended before it was acknowledged: there is nothing to cancel.
            _log.info("job %s needs no cancelling: %s", job_id, error)
        try:
            # A record whose last step, the sync of its directory, failed.
            self._ledger.forget(job_id)
        except OSError as error:
            _log.error("the record of job %s can't be removed: %s", job_id, error)
        return f"job {job_id} was cancelled again: submit it anew when the disk takes it"

    @contextmanager
    def _alone_with(self, job_id: str) -> Iterator[None]:
        with self._locks[zlib.crc32(job_id.encode()) % _NUM_LOCKS]:
            yield


def _state_of(job: Job) -> str:
    if job.is_cancelling:
        return "being cancelled"
    return "being paused" if job.is_pausing else job.status.value


def disk_error(error: OSError, message: str) -> JobsError:
    """The answer to an error of the disk."""
    if is_full(error):
        return StorageFullError(message)
    return StorageFailedError(message)
