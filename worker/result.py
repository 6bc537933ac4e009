"""`result.json`: how a job ended, on disk before it is said in Redis.

A worker that is lost between the two has trained to the end; the next one that claims the job
finds the result here and doesn't train again. Example:

    {"epoch": 3, "model": "ft:flant5-demo:flant5::7d6c5b4a", "error": null, "is_cancelled": false,
     "finished_at": 1764000000.0}
"""

import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from worker.jobs.durable import write_whole
from worker.jobs.home import RunDirectory
from worker.jobs.job import JobError
from worker.jobs.update import Cancelled, Failed, Outcome, Succeeded


class Result(BaseModel):
    """The content of `result.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epoch: int
    finished_at: float = 0.0
    """Unix seconds."""
    model: str | None = None
    error: JobError | None = None
    is_cancelled: bool = False

    @property
    def outcome(self) -> Outcome:
        if self.model is not None:
            return Succeeded(self.model)
        return Failed(self.error) if self.error is not None else Cancelled()


def write_result(path: Path, outcome: Outcome, *, epoch: int) -> None:
    """Returns when the result is on the disk, whole."""
    result = Result(
        epoch=epoch,
        finished_at=time.time(),
        model=outcome.fine_tuned_model if isinstance(outcome, Succeeded) else None,
        error=outcome.error if isinstance(outcome, Failed) else None,
        is_cancelled=isinstance(outcome, Cancelled),
    )
    write_whole(path, result.model_dump_json(indent=2) + "\n")


def read_result(path: Path) -> Result | None:
    """None when the job has no result yet. Raises ValidationError when the file is none."""
    try:
        return Result.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def valid_result(run_directory: RunDirectory, floor: int) -> Result | None:
    """As `read_result`; one of an epoch up to `floor` is from before the caller resumed the job
    and doesn't count."""
    result = read_result(run_directory.result)
    return None if result is None or result.epoch <= floor else result
