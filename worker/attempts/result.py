"""`result.json`: how a job ended, on disk before it is said in Redis.

A worker that is lost between the two has trained to the end; the next one that claims the job
finds the result here and doesn't train again. Should the store be lost as a whole, the job's end
is restored from it (`worker.keeper.recovery`). Example:

    {"epoch": 3, "model": "ft:flant5-demo:flant5::7d6c5b4a", "error": null, "is_cancelled": false,
     "finished_at": 1764000000.0}
"""

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.jobs.durable import write_whole
from worker.jobs.home import Home, RunDirectory
from worker.jobs.job import Job, JobError
from worker.jobs.ledger import Epoch, Instant
from worker.jobs.life import Status
from worker.jobs.malformed import MalformedFileError
from worker.jobs.store import JobStore
from worker.jobs.update import Cancelled, Failed, Outcome, Succeeded

logger = logging.getLogger(__name__)


class Result(BaseModel):
    """The content of `result.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epoch: Epoch
    model: str | None = None
    error: JobError | None = None
    is_cancelled: bool = False
    finished_at: Instant | None = None
    """Null in files that were written before this was kept."""

    @property
    def outcome(self) -> Outcome:
        if self.model is not None:
            return Succeeded(self.model)
        return Failed(self.error) if self.error is not None else Cancelled()


def write_result(
    path: Path, outcome: Outcome, *, epoch: int, finished_at: float | None = None
) -> None:
    """Returns when the result is on the disk, whole. Without `finished_at` the job ends now."""
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
    """Writes the result of a job that failed or was cancelled by a step of the store alone, so
    that no worker wrote one: files that were no good, one lost attempt too many.

    Raises OSError, and MalformedFileError for a result that is there and is none.
    """
    outcome: Outcome | None = None
    if job.status is Status.FAILED and job.error is not None:
        outcome = Failed(job.error)
    elif job.status is Status.CANCELLED:
        outcome = Cancelled()
    if outcome is not None and valid_result(run_directory, job.result_floor) is None:
        # As the claim that would have come next: a resume rules it out like any other.
        epoch = job.epoch + 1
        write_result(run_directory.result, outcome, epoch=epoch, finished_at=job.finished_at)


def keep_ends(store: JobStore, home: Home, job_ids: Iterable[str]) -> None:
    """As `keep_end`, for each of the jobs that the store has ended. A result that can't be written
    is logged: it is needed only should the store be lost. Raises StoreUnavailableError."""
    for job_id in job_ids:
        try:
            keep_end(store.get(job_id), home.run_directory(job_id))
        except (OSError, MalformedFileError):
            logger.exception("job %s: its end is in Redis only", job_id)


def read_result(path: Path) -> Result | None:
    """None when the job has no result yet. Raises MalformedFileError when the file is none."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise MalformedFileError(path, error) from error


def valid_result(run_directory: RunDirectory, floor: int) -> Result | None:
    """None also when the result is from before the caller resumed the job, `floor` being its
    `result_floor`. Raises MalformedFileError."""
    result = read_result(run_directory.result)
    return None if result is None or result.epoch <= floor else result
