"""Fine-tuning jobs."""

import re
import time
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request

from api.hyperparameters import echo
from api.schemas.create import CreateJob
from api.schemas.jobs import JobObject
from api.schemas.pages import ListPage
from api.services import Services, Wired
from api.submission import Origin, submit
from worker.jobs.job import Job

_METADATA = re.compile(r"metadata\[(?P<key>.+)\]")

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])


@router.post("")
def create_job(
    services: Wired,
    request: Request,
    body: CreateJob,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
    x_stainless_retry_count: Annotated[int, Header(include_in_schema=False)] = 0,
) -> JobObject:
    """Submit a job. It answers at once; the files are checked under `validating_files`.

    The same `Idempotency-Key`, or a retry by the SDK, gives the job of the first try.
    """
    origin = Origin(
        caller=request.headers.get("authorization", ""),
        idempotency_key=idempotency_key,
        is_retry=x_stainless_retry_count > 0,
        arrived_at=request.state.arrived_at,
    )
    return _shown(submit(body, origin=origin, services=services), services)


@router.get("")
def list_jobs(
    services: Wired,
    request: Request,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> ListPage[JobObject]:
    """All jobs, newest first; with `metadata[key]=value`, those that carry all such pairs."""
    found = ((_METADATA.fullmatch(name), value) for name, value in request.query_params.items())
    metadata = {match["key"]: value for match, value in found if match}
    page = services.store.list(after=after, limit=limit, metadata=metadata)
    jobs = [_shown(job, services) for job in page.items]
    return ListPage[JobObject].of(jobs, has_more=page.has_more)


@router.get("/{job_id}")
def retrieve_job(services: Wired, job_id: str) -> JobObject:
    """A job as it stands."""
    return _shown(services.store.get(job_id), services)


@router.post("/{job_id}/cancel")
def cancel_job(services: Wired, job_id: str) -> JobObject:
    """Cancel a job: one that waits at once, one that runs as soon as its worker hears of it.

    Its checkpoints stay.
    """
    return _shown(services.store.cancel(job_id), services)


def _shown(job: Job, services: Services) -> JobObject:
    return JobObject.of(
        job,
        output=services.home.run_directory(job.id).output,
        hyperparameters=echo(job.spec.hyperparameters),
        now=time.time(),
    )
