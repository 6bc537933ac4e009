"""Tombstones: records of deletions on disk, which keep a rolled-back store from undoing them.

HOME/deleted/<job-id>.json         a deleted job
HOME/deleted/<job-id>.model.json   the deleted final model of a job that is still there

    {"job_id": "ftjob-...", "kind": "job", "owner": "alice", "model": "ft:flant5-demo:...",
     "result_file": "file-...", "deleted_at": 1764000000.0, "freed_bytes": 123456}

Once a tombstone is on disk its deletion is final: the controller removes all remaining or restored
files and keys (`worker.controller.deletions`).
"""

import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.jobs.storage.filesystem import MalformedFileError, write_whole
from worker.jobs.storage.paths import Home

KEEP_DAYS = 30
"""Age at which tombstones are removed, in days. A server that starts from an older snapshot may
list deleted jobs again."""

Kind = Literal["job", "model"]

_SUFFIXES: dict[Kind, str] = {"job": ".json", "model": ".model.json"}


class Tombstone(BaseModel):
    """The content of a tombstone file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )

    job_id: str
    kind: Kind
    owner: str
    """The owner of the job."""
    model: str
    """The current or future id of the job's model."""
    result_file: str | None = None
    """The id of the job's result file, which is deleted with the job."""
    deleted_at: float = Field(default_factory=time.time)
    """Unix seconds."""
    freed_bytes: int
    """Size of the deleted files."""

    def is_seen_by(self, owner: str | None) -> bool:
        """Returns True if the deleted object existed for `owner`; None sees all objects."""
        return owner is None or owner == self.owner


class Tombstones:
    """The tombstones of a HOME."""

    def __init__(self, home: Home) -> None:
        self._root = home.deleted

    def write(self, tombstone: Tombstone) -> None:
        """Writes a tombstone; returns once it is on disk. Raises OSError."""
        self._root.mkdir(parents=True, exist_ok=True)
        path = self._path(tombstone.job_id, tombstone.kind)
        write_whole(path, tombstone.model_dump_json() + "\n")

    def has(self, job_id: str, kind: Kind = "job") -> bool:
        return self._path(job_id, kind).exists()

    def read(self, job_id: str, kind: Kind = "job") -> Tombstone | None:
        """Reads a tombstone; None if there is none. Raises OSError, and MalformedFileError."""
        path = self._path(job_id, kind)
        try:
            return Tombstone.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise MalformedFileError(path, error) from error

    def ids(self, kind: Kind = "job") -> frozenset[str]:
        """Returns the ids of the jobs that have a tombstone of this kind."""
        suffix = _SUFFIXES[kind]
        names = (path.name for path in self._root.glob(f"*{suffix}"))
        return frozenset(
            job_id for name in names if "." not in (job_id := name.removesuffix(suffix))
        )

    def remove_old(self) -> None:
        """Removes tombstones that are older than KEEP_DAYS."""
        oldest_kept = time.time() - KEEP_DAYS * 24 * 3600
        for path in self._root.glob("*"):
            try:
                if path.stat().st_mtime < oldest_kept:
                    path.unlink()
            except FileNotFoundError:
                continue  # another controller removed it

    def _path(self, job_id: str, kind: Kind) -> Path:
        return self._root / f"{job_id}{_SUFFIXES[kind]}"
