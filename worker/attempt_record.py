"""`attempt.json`: the last attempt that began, on disk before its trainer starts. Example:

{"epoch": 3, "attempt": 2, "worker": "gpu-0", "host": "node-1", "started_at": 1764000000.0}
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from worker.jobs.durable import write_whole


class AttemptRecord(BaseModel):
    """The content of `attempt.json`; `started_at` is Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    attempt: int
    worker: str
    host: str
    started_at: float


def write_attempt(path: Path, record: AttemptRecord) -> None:
    """Returns when it is on disk, whole. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, record.model_dump_json(indent=2) + "\n")


def read_attempt(path: Path) -> AttemptRecord | None:
    """None when no attempt has begun. Raises ValidationError when the file is no such record."""
    try:
        return AttemptRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
