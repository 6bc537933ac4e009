"""`attempt.json`: the latest attempt of a job, written before its trainer starts.

If the whole store is lost, recovery reads from it that the job has run, and under which epoch (see
`worker.keeper.recovery`). Example:

    {"epoch": 3, "attempt": 2, "worker": "gpu-0", "host": "node-1", "started_at": 1764000000.0,
     "run_seconds": 0.0}
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.jobs.malformed import MalformedFileError
from worker.jobs.storage.filesystem import write_whole
from worker.jobs.storage.job_record import Epoch, Instant


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
