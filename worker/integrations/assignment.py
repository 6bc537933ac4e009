"""Protocol between the shipper and its export processes, one JSON message per line.

shipper -> process, standard input:   the Assignment, then {"status": "succeeded"} once the job is
                                      no longer running; end of file: stop at once
process -> shipper, standard output:  Reports, the last one with `is_done` or a `problem`
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from worker.jobs.job import Job, model_id
from worker.jobs.life import Status
from worker.jobs.spec import JobSpec


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Assignment(_Message):
    """One integration of one job."""

    type: str
    job_id: str
    owner: str
    spec: JobSpec
    fine_tuned_model: str
    """The current or future id of the model."""
    error: str | None
    """The error of a failed job."""
    run_directory: Path
    account: dict[str, Any] = Field(repr=False)
    """A table of the integrations file, with secrets."""

    @property
    def settings(self) -> Any:
        """The caller's settings of this integration, such as a WandbRun."""
        (integration,) = (each for each in self.spec.integrations if each.type == self.type)
        return getattr(integration, self.type)


class JobEnded(_Message):
    """The job is no longer running: it has ended, is paused, or is queued again."""

    status: Status


class Report(_Message):
    """A heartbeat (all defaults), a URL, a problem, or completion."""

    url: str | None = None
    problem: str | None = None
    is_final: bool = False
    """True if a retry would hit the same problem."""
    is_done: bool = False


def assignment_for(
    job: Job, *, kind: str, run_directory: Path, account: dict[str, Any]
) -> Assignment:
    return Assignment(
        type=kind,
        job_id=job.id,
        owner=job.owner,
        spec=job.spec.model_copy(update={"hyperparameters": job.hyperparameters}),
        fine_tuned_model=job.fine_tuned_model or model_id(job.id, job.spec),
        error=job.error.message if job.error else None,
        run_directory=run_directory,
        account=account,
    )
