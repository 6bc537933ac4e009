"""API representation of jobs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Header

from api.dependencies import Services, ServicesDep
from api.schemas.jobs import JobObject
from api.services.jobs import to_response
from worker.jobs.job import Job, Status
from worker.jobs.storage.run_files import result_file_id

PausedAs = Annotated[
    Literal["queued"] | None,
    Header(
        alias="X-Flant5-Paused-As",
        description="With `queued`, a paused job has the status `queued`, which every SDK client "
        "knows, and the phase `paused`.",
    ),
]


@dataclass(frozen=True, slots=True)
class JobView:
    """Converts jobs to API responses.

    `paused` is not one of the six statuses in the types of the openai SDK, and strict clients fail
    on it (dspy 3.4.1: KeyError). With `paused_as`, the caller gets `queued` instead.
    """

    services: Services
    paused_as: Literal["queued"] | None

    def one(self, job: Job) -> JobObject:
        return self.all([job])[0]

    def all(self, jobs: Sequence[Job]) -> list[JobObject]:
        reasons = self.services.queue_position.explain(jobs)
        return [self._shown(job, waiting_for=reasons.get(job.id)) for job in jobs]

    def _shown(self, job: Job, *, waiting_for: str | None) -> JobObject:
        shown = JobObject.of(
            job,
            output=self.services.home.run_directory(job.id).output,
            hyperparameters=to_response(job.hyperparameters),
            waiting_for=waiting_for,
            result_files=self._result_files(job),
            now=time.time(),
        )
        if self.paused_as is None or job.status is not Status.PAUSED:
            return shown
        return shown.model_copy(update={"status": Status.QUEUED, "phase": Status.PAUSED.value})

    def _result_files(self, job: Job) -> tuple[str, ...]:
        file_id = result_file_id(job)
        has_file = job.status is Status.SUCCEEDED and self.services.files.find(file_id) is not None
        return (file_id,) if has_file else ()


async def _view(services: ServicesDep, paused_as: PausedAs = None) -> JobView:
    return JobView(services, paused_as)


Viewing = Annotated[JobView, Depends(_view)]
