"""Fine-tuning jobs."""

import re
from typing import Annotated

from anyio import from_thread
from fastapi import APIRouter, Depends, Header, Query, Request

from api.dependencies import CallerDep, ServicesDep, get_job_or_404
from api.http.errors import ClientGoneError
from api.schemas.common import MOST_ITEMS, After, IsRetry, JobDeleted, ListPage
from api.schemas.jobs import CreateJob, JobObject
from api.services import deletion, jobs
from api.services.job_view import Viewing
from api.services.jobs import Origin, submit

_METADATA = re.compile(r"metadata\[(?P<key>.+)\]", re.DOTALL)
_METADATA_PARAMETER = {
    "name": "metadata",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "description": "Only jobs with these metadata pairs, each as `metadata[key]=value`.",
}

_OF_ONE_JOB = [Depends(get_job_or_404)]

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])


def _is_heard(request: Request) -> None:
    """Raises ClientGoneError if the client of a create has already disconnected. A slow network can
    deliver a create after its client timed out and sent it again. Without this check, it would
    become a second job.

    Not async: the switch to a thread and back lets the server notice the disconnect, which arrives
    right after such a request.
    """
    if from_thread.run(request.is_disconnected):
        raise ClientGoneError("the client disconnected, so no job was created")


@router.post("", dependencies=[Depends(_is_heard)])
def create_job(
    services: ServicesDep,
    view: Viewing,
    calling: CallerDep,
    request: Request,
    body: CreateJob,
    is_retry: IsRetry,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=255, description="Requests with the same key are one submission."),
    ] = None,
) -> JobObject:
    """Submit a job. Returns at once; the files are checked in the status `validating_files`.

    The same `Idempotency-Key`, or a retry by the SDK, returns the job of the first request.
    """
    origin = Origin(
        caller=calling,
        authorization=request.headers.get("authorization", ""),
        idempotency_key=idempotency_key,
        is_retry=is_retry,
        arrived_at=request.state.arrived_at,
    )
    return view.one(submit(body, origin=origin, services=services))


@router.get("", openapi_extra={"parameters": [_METADATA_PARAMETER]})
def list_jobs(
    services: ServicesDep,
    view: Viewing,
    calling: CallerDep,
    request: Request,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000, description=MOST_ITEMS)] = 20,
) -> ListPage[JobObject]:
    """List all jobs that the key may see, newest first. With `metadata[key]=value`, only jobs with
    all of these pairs."""
    found = ((_METADATA.fullmatch(name), value) for name, value in request.query_params.items())
    metadata = {match["key"]: value for match, value in found if match}
    page = services.store.list(
        after=after, limit=limit, metadata=metadata, owner=calling.owner_filter
    )
    return ListPage[JobObject].of(view.all(page.items), has_more=page.has_more)


@router.get("/{job_id}", dependencies=_OF_ONE_JOB)
def retrieve_job(services: ServicesDep, view: Viewing, job_id: str) -> JobObject:
    """Get a job."""
    return view.one(services.store.get(job_id))


@router.delete("/{job_id}", dependencies=_OF_ONE_JOB)
def delete_job(
    services: ServicesDep, calling: CallerDep, job_id: str, is_retry: IsRetry
) -> JobDeleted:
    """Delete an ended job with its model, checkpoints, events, logs and metrics. Its training files
    stay.

    Returns 409 if the job has not ended; cancel it first. Also returns 409 if a job that has not
    ended starts from its model or checkpoints.
    """
    freed = deletion.delete_job(job_id, caller=calling, is_retry=is_retry, services=services)
    return JobDeleted(id=job_id, freed_bytes=freed)


@router.post("/{job_id}/cancel", dependencies=_OF_ONE_JOB)
def cancel_job(
    services: ServicesDep,
    view: Viewing,
    job_id: str,
    is_retry: IsRetry,
    save_checkpoint: Annotated[
        bool, Query(description="Save a checkpoint before stopping a running trainer.")
    ] = False,
) -> JobObject:
    """Cancel a job. A waiting job is cancelled at once, a running job at its worker's next
    heartbeat.

    A running trainer is killed. With `save_checkpoint=true` it saves a checkpoint first.
    Checkpoints stay, and a cancelled job can be resumed.
    """
    action = jobs.CANCEL_WITH_CHECKPOINT if save_checkpoint else jobs.CANCEL
    return view.one(jobs.apply_action(action, job_id, is_retry=is_retry, services=services))


@router.post("/{job_id}/pause", dependencies=_OF_ONE_JOB)
def pause_job(services: ServicesDep, view: Viewing, job_id: str, is_retry: IsRetry) -> JobObject:
    """Pause a job. A waiting job is paused at once, a running job after saving a checkpoint.

    A paused job keeps its place in the queue, but no GPU.
    """
    job = jobs.apply_action(jobs.PAUSE, job_id, is_retry=is_retry, services=services)
    return view.one(job)


@router.post("/{job_id}/resume", dependencies=_OF_ONE_JOB)
def resume_job(services: ServicesDep, view: Viewing, job_id: str, is_retry: IsRetry) -> JobObject:
    """Resume a paused, failed or cancelled job from its newest checkpoint.

    Cancels a pending pause.
    """
    job = jobs.apply_action(jobs.RESUME, job_id, is_retry=is_retry, services=services)
    return view.one(job)
