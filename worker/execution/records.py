"""Records of attempts on disk, from which a job is recovered if the store loses it.

`result.json` is the outcome of a job, written before it is recorded in Redis. If a worker is lost
between the two, the next worker that claims the job finds the result here and does not train again.
If the whole store is lost, recovery restores the outcome from it (`worker.controller.recovery`):

    {"epoch": 3, "model": "ft:flant5-demo:flant5::7d6c5b4a", "error": null, "is_cancelled": false,
     "finished_at": 1764000000.0}

`attempt.json` is the latest attempt of a job, written before its trainer starts. If the whole store
is lost, recovery reads from it that the job has run, and under which epoch:

    {"epoch": 3, "attempt": 2, "worker": "gpu-0", "host": "node-1", "started_at": 1764000000.0,
     "run_seconds": 0.0}

`apply_desired_state` repeats a cancel, pause or resume request that a rolled-back store lost.
"""

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.jobs.errors import InvalidRequestError
from worker.jobs.job import Job, JobError, Status
from worker.jobs.storage.filesystem import MalformedFileError, write_whole
from worker.jobs.storage.job_record import DesiredState, Epoch, Instant, JobRecord
from worker.jobs.storage.paths import Home, RunDirectory
from worker.jobs.store.serialization import Cancelled, Failed, Outcome, Succeeded
from worker.jobs.store.store import JobStore

logger = logging.getLogger(__name__)


class Result(BaseModel):
    """The content of `result.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epoch: Epoch
    model: str | None = None
    error: JobError | None = None
    is_cancelled: bool = False
    finished_at: Instant | None = None
    """Null in files of versions that did not record it."""

    @property
    def outcome(self) -> Outcome:
        if self.model is not None:
            return Succeeded(self.model)
        return Failed(self.error) if self.error is not None else Cancelled()


def write_result(
    path: Path, outcome: Outcome, *, epoch: int, finished_at: float | None = None
) -> None:
    """Writes the result atomically and durably. `finished_at` defaults to now."""
    result = Result(
        epoch=epoch,
        model=outcome.fine_tuned_model if isinstance(outcome, Succeeded) else None,
        error=outcome.error if isinstance(outcome, Failed) else None,
        is_cancelled=isinstance(outcome, Cancelled),
        finished_at=time.time() if finished_at is None else finished_at,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, result.model_dump_json(indent=2) + "\n")


def keep_end(job: Job, run_directory: RunDirectory) -> None:
    """Writes the result of a job that failed or was cancelled in the store, without a worker.

    Examples: invalid files, or too many lost attempts.

    Raises OSError, and MalformedFileError for an invalid existing result.
    """
    outcome: Outcome | None = None
    if job.status is Status.FAILED and job.error is not None:
        outcome = Failed(job.error)
    elif job.status is Status.CANCELLED:
        outcome = Cancelled()
    if outcome is not None and valid_result(run_directory, job.result_floor) is None:
        # The epoch of the next claim: a resume invalidates this result like any other.
        epoch = job.epoch + 1
        write_result(run_directory.result, outcome, epoch=epoch, finished_at=job.finished_at)


def keep_ends(store: JobStore, home: Home, job_ids: Iterable[str]) -> None:
    """Calls `keep_end` for each job that ended in the store.

    Write failures are only logged: the file is needed only if the store is lost. Raises
    StoreUnavailableError.
    """
    for job_id in job_ids:
        try:
            keep_end(store.get(job_id), home.run_directory(job_id))
        except (OSError, MalformedFileError):
            logger.exception("job %s: cannot write result.json", job_id)


def read_result(path: Path) -> Result | None:
    """Returns None if there is no result yet. Raises MalformedFileError for an invalid file."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise MalformedFileError(path, error) from error


def valid_result(run_directory: RunDirectory, floor: int) -> Result | None:
    """Returns the result, or None if there is none or it predates a resume.

    `floor` is the job's `result_floor`. Raises MalformedFileError.
    """
    result = read_result(run_directory.result)
    return None if result is None or result.epoch <= floor else result


class AttemptRecord(BaseModel):
    """The content of `attempt.json`; instants are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epoch: Epoch
    attempt: int = Field(ge=0, lt=2**53)
    worker: str
    host: str
    started_at: Instant
    """Start of the job's first attempt (`Job.started_at`), not of this one."""
    run_seconds: float = Field(0.0, ge=0, lt=1e11)
    """Seconds that earlier attempts held a worker (`Job.run_seconds`)."""


def write_attempt(path: Path, record: AttemptRecord) -> None:
    """Writes the record atomically and durably. Raises OSError."""
    write_whole(path, record.model_dump_json(indent=2) + "\n")


def read_attempt(path: Path) -> AttemptRecord | None:
    """Returns None if no attempt has begun. Raises MalformedFileError for an invalid file."""
    try:
        return AttemptRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise MalformedFileError(path, error) from error


def apply_desired_state(record: JobRecord, store: JobStore) -> Status:
    """Repeats the request and returns the new status of the job.

    Raises NotFoundError and StoreUnavailableError.
    """
    try:
        if record.wish is DesiredState.CANCEL:
            store.cancel(record.id)
        elif record.wish is DesiredState.PAUSE:
            store.pause(record.id)
        elif store.get(record.id).status is not Status.SUCCEEDED:
            store.resume(record.id)
    except InvalidRequestError:
        # The job already is in the requested state, or has ended.
        store.record_desired_state(record.id)
    return store.get(record.id).status
