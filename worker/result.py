"""`result.json`: how a job ended, on disk before it is said in Redis.

A worker that is lost between the two has trained to the end; the next one that claims the job
finds the result here and doesn't train again. Should the store be lost as a whole, the job's end
is restored from it (`worker.recovery`). Example:

    {"epoch": 3, "model": "ft:flant5-demo:flant5::7d6c5b4a", "error": null, "is_cancelled": false,
     "finished_at": 1764000000.0}
"""

import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.jobs.durable import write_whole
from worker.jobs.home import RunDirectory
from worker.jobs.job import Job, JobError
from worker.jobs.life import Status
from worker.jobs.malformed import MalformedFileError
from worker.jobs.update import Cancelled, Failed, Outcome, Succeeded


class Result(BaseModel):
    """The content of `result.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epoch: int
    model: str | None = None
    error: JobError | None = None
    is_cancelled: bool = False
    finished_at: float | None = None
    """Unix seconds; null in files that were written before this was kept."""

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
    outcomes = {Status.FAILED: job.error and Failed(job.error), Status.CANCELLED: Cancelled()}
    outcome = outcomes.get(job.status)
    # As the claim that would have come next: newer than all, and yet a resume rules it out.
    epoch = job.epoch + 1
    written = read_result(run_directory.result)
    if outcome and (written is None or written.epoch < job.epoch):
        write_result(run_directory.result, outcome, epoch=epoch, finished_at=job.finished_at)


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
