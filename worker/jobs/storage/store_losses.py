"""`losses.jsonl`: data losses of the store that a controller noticed, one JSON object per line.

They are on disk because the store may lose its record of them too. Example:

    {"noticed_at": 1764000000.0, "cause": "its change counter went back from 1240 to 1201",
     "is_whole": false, "num_missing": 2, "num_older": 1, "num_mended": 0, "jobs": ["ftjob-..."]}
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

MAX_NAMED = 20
"""Maximum number of jobs named in one record; all are counted."""


class DataLoss(BaseModel):
    """A controller's findings in one round; `noticed_at` is in Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    noticed_at: float
    cause: str
    """The evidence of the loss."""
    is_whole: bool = False
    """The store has almost none of the jobs on disk: it is empty, or a different one."""
    num_missing: int = 0
    """Jobs on disk that the store did not have."""
    num_older: int = 0
    """Jobs with an older state in the store than on disk."""
    num_mended: int = 0
    """Missing or stale index entries that were repaired."""
    jobs: tuple[str, ...] = ()
    """Ids of the first of these jobs."""

    @property
    def num_jobs(self) -> int:
        return self.num_missing + self.num_older

    @property
    def account(self) -> str:
        """A one-line summary for people."""
        found = (
            f"{self.num_missing} jobs were missing, {self.num_older} were in an older state, "
            f"{self.num_mended} index entries were wrong"
        )
        return f"Redis has lost data: {self.cause}; {found}"


@dataclass(frozen=True, slots=True)
class DataLossSummary:
    """The content of the file in numbers."""

    num_losses: int = 0
    num_jobs: int = 0
    """Jobs that were missing or older, in all losses together."""
    last: DataLoss | None = None


class DataLossLog:
    """`losses.jsonl` of a HOME. One controller writes it; any process may read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._known = DataLossSummary()

    def append(self, loss: DataLoss) -> None:
        """Appends a record; returns once it is on disk. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as file:
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                file.write(b"\n")  # ends a line that was cut by a full disk
            file.write(f"{loss.model_dump_json()}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> DataLossSummary:
        """Returns the totals; rereads the file only if it has changed. Raises OSError."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return DataLossSummary()
        stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            found = [loss for line in self._lines() if (loss := _parsed(line)) is not None]
            self._known = DataLossSummary(
                num_losses=len(found),
                num_jobs=sum(loss.num_jobs for loss in found),
                last=found[-1] if found else None,
            )
            self._stamp = stamp
        return self._known

    def _lines(self) -> list[str]:
        return self._path.read_text(encoding="utf-8", errors="replace").splitlines()


def _parsed(line: str) -> DataLoss | None:
    """Parses a line; None for one that was cut by a full disk."""
    try:
        return DataLoss.model_validate_json(line)
    except ValidationError:
        return None
