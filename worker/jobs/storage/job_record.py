"""`job.json`: a caller's request, on disk before it is acknowledged.

If the whole store is lost, the jobs are restored from these files (`worker.controller.recovery`).
Example:

    {"id": "ftjob-...", "number": 7, "owner": "alice", "created_at": 1764000000.0,
     "spec": {"model": "flant5-demo", ...}, "wish": "go_on", "result_floor": -1,
     "finished_at": null, "is_model_deleted": false, "wished_at": 1764000000000,
     "submission_key": "flant5:submission:..."}
"""

import logging
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.jobs.job import Job, JobSpec, Status
from worker.jobs.storage.filesystem import MalformedFileError, write_whole
from worker.jobs.storage.paths import Home

Epoch = Annotated[int, Field(ge=-1, lt=2**53)]
"""-1: before the first one. The bound is the largest exact integer of the store's Lua scripts."""
Instant = Annotated[float, Field(ge=0, lt=1e11)]
"""Unix seconds; the bound rejects milliseconds."""


_log = logging.getLogger(__name__)


class DesiredState(StrEnum):
    """The last request of the caller for a job."""

    GO_ON = "go_on"
    PAUSE = "pause"
    CANCEL = "cancel"


class JobRecord(BaseModel):
    """The content of `job.json`; instants are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    number: int = Field(ge=0, lt=2**53)
    owner: str
    created_at: Instant
    spec: JobSpec
    wish: DesiredState = DesiredState.GO_ON
    result_floor: Epoch = -1
    finished_at: Instant | None = None
    """End of a job that was cancelled before it ran."""
    is_model_deleted: bool = False
    """True if the caller deleted the job's model."""
    wished_at: int = Field(0, ge=0, lt=2**53)
    """`Job.wished_at`; 0 in older files without this field."""
    submission_key: str = ""
    """`Job.submission_key`."""

    @classmethod
    def of(cls, job: Job, *, is_model_deleted: bool = False) -> Self:
        wish = DesiredState.GO_ON
        if job.cancel_requested is not None or job.status is Status.CANCELLED:
            wish = DesiredState.CANCEL
        elif job.pause_requested or job.status is Status.PAUSED:
            wish = DesiredState.PAUSE
        return cls(
            id=job.id,
            number=job.number,
            owner=job.owner,
            created_at=job.created_at,
            spec=job.spec,
            wish=wish,
            result_floor=job.result_floor,
            finished_at=job.finished_at,
            is_model_deleted=is_model_deleted,
            wished_at=job.wished_at,
            submission_key=job.submission_key,
        )


class JobRecordStore:
    """The `job.json` files of a HOME."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def write(self, job: Job) -> None:
        """Writes the record; returns once it is on disk. Raises OSError."""
        # Only a job that succeeded has a model, so for others the old record is not read.
        is_model_deleted = job.status is Status.SUCCEEDED and self._is_model_deleted(job.id)
        self._write(JobRecord.of(job, is_model_deleted=is_model_deleted))

    def mark_model_deleted(self, job_id: str) -> None:
        """Marks the job's model as deleted, so a recovery leaves it out. Raises OSError."""
        try:
            self._write(self.read(job_id).model_copy(update={"is_model_deleted": True}))
        except FileNotFoundError:
            return  # a job without a record is never restored
        except ValueError as error:
            # A job with a damaged record is not restored either.
            _log.error("ledger: cannot record the deletion of a model: %s", error)

    def delete(self, job_id: str) -> None:
        """Removes the record of a deleted job, so no recovery restores the job."""
        self._home.run_directory(job_id).job_record.unlink(missing_ok=True)

    def job_ids(self) -> Iterator[str]:
        """Yields the ids of the jobs that have a record, in no order. Directories are read
        lazily."""
        return (path.parent.name for path in self._home.jobs.glob("*/job.json"))

    def is_empty(self) -> bool:
        return not any(self._home.jobs.glob("*/job.json"))

    def read(self, job_id: str) -> JobRecord:
        """Reads a record. Raises OSError, and ValueError for a malformed one or another job's."""
        path = self._home.run_directory(job_id).job_record
        try:
            record = JobRecord.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise MalformedFileError(path, error) from error
        if record.id != job_id:
            raise ValueError(f"{path}: id: found {record.id!r}; expected {job_id!r}")
        return record

    def _write(self, record: JobRecord) -> None:
        path = self._home.run_directory(record.id).job_record
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, record.model_dump_json(indent=2) + "\n")

    def _is_model_deleted(self, job_id: str) -> bool:
        try:
            return self.read(job_id).is_model_deleted
        except FileNotFoundError:
            return False
