"""`job.json`: what a caller asked for, on disk before it is acknowledged.

Should the store be lost as a whole, jobs are restored from this (`worker.recovery`). Example:

    {"id": "ftjob-...", "number": 7, "owner": "alice", "created_at": 1764000000.0,
     "spec": {"model": "flant5-demo", ...}, "wish": "go_on", "result_floor": -1}
"""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.jobs.durable import write_whole
from worker.jobs.home import Home
from worker.jobs.job import Job
from worker.jobs.life import Status
from worker.jobs.spec import JobSpec


class Wish(StrEnum):
    """What the caller wanted of the job last."""

    GO_ON = "go_on"
    PAUSE = "pause"
    CANCEL = "cancel"


class JobRecord(BaseModel):
    """The content of `job.json`; instants are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    number: int
    owner: str
    created_at: float
    spec: JobSpec
    wish: Wish = Wish.GO_ON
    result_floor: int = -1

    @classmethod
    def of(cls, job: Job) -> Self:
        wish = Wish.GO_ON
        if job.cancel_requested is not None or job.status is Status.CANCELLED:
            wish = Wish.CANCEL
        elif job.pause_requested or job.status is Status.PAUSED:
            wish = Wish.PAUSE
        return cls(
            id=job.id,
            number=job.number,
            owner=job.owner,
            created_at=job.created_at,
            spec=job.spec,
            wish=wish,
            result_floor=job.result_floor,
        )


class Ledger:
    """All `job.json` of a home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def write(self, job: Job) -> None:
        """Returns when it is on disk. Raises OSError."""
        path = self._home.run_directory(job.id).job_record
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, JobRecord.of(job).model_dump_json(indent=2) + "\n")

    def forget(self, job_id: str) -> None:
        """The job is deleted with what it left: nothing restores it."""
        self._home.run_directory(job_id).job_record.unlink(missing_ok=True)

    def job_ids(self) -> tuple[str, ...]:
        """The jobs that have a record, in no order."""
        return tuple(path.parent.name for path in self._home.jobs.glob("*/job.json"))

    def read(self, job_id: str) -> JobRecord:
        """Raises OSError, and ValueError when the file is no record of this job."""
        path = self._home.run_directory(job_id).job_record
        try:
            record = JobRecord.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path}: {place}: {first['msg']}") from error
        if record.id != job_id:
            raise ValueError(f"{path} is the record of job {record.id}; expected {job_id}")
        return record
