"""Fine-tuning jobs."""

import re
from typing import Annotated

from anyio import from_thread
from fastapi import APIRouter, Depends, Header, Query, Request

from api import deletion, wishes
from api.calling import Calling
from api.chat.errors import ClientGoneError
from api.job_view import Viewing
from api.owned import own_job
from api.parameters import MOST_ITEMS, After, IsRetry
from api.schemas.create import CreateJob
from api.schemas.deleted import JobDeleted
from api.schemas.jobs import JobObject
from api.schemas.pages import ListPage
from api.services import Wired
from api.submission import Origin, submit

_METADATA = re.compile(r"metadata\[(?P<key>.+)\]", re.DOTALL)
_METADATA_PARAMETER = {
    "name": "metadata",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "description": "Pairs that a job must carry, each as `metadata[key]=value`.",
}

_OF_ONE_JOB = [Depends(own_job)]

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])


def _is_heard(request: Request) -> None:
    """A create that a slow network delivers after its client lost patience makes no job: that
    client has sent it again, or given up. Without this it would look like a second submission.

    Not async: the way into a thread and back lets the server see the end of the connection, which
    comes right behind such a request.
    """
    if from_thread.run(request.is_disconnected):
        raise ClientGoneError("the client hung up before the job was made; no job was made")


@router.post("", dependencies=[Depends(_is_heard)])
def create_job(
    services: Wired,
    view: Viewing,
    calling: Calling,
    request: Request,
    body: CreateJob,
    is_retry: IsRetry,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=255, description="Two requests with the same one are one submission."),
    ] = None,
) -> JobObject:
    """Submit a job. It answers at once; the files are checked under `validating_files`.

    The same `Idempotency-Key`, or a retry by the SDK, gives the job of the first try.
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
    services: Wired,
    view: Viewing,
    calling: Calling,
    request: Request,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000, description=MOST_ITEMS)] = 20,
) -> ListPage[JobObject]:
    """All jobs that the key may see, newest first; with `metadata[key]=value`, those that carry all
    such pairs."""
    found = ((_METADATA.fullmatch(name), value) for name, value in request.query_params.items())
    metadata = {match["key"]: value for match, value in found if match}
    page = services.store.list(
        after=after, limit=limit, metadata=metadata, owner=calling.limited_to
    )
    return ListPage[JobObject].of(view.all(page.items), has_more=page.has_more)


@router.get("/{job_id}", dependencies=_OF_ONE_JOB)
def retrieve_job(services: Wired, view: Viewing, job_id: str) -> JobObject:
    """A job as it stands."""
    return view.one(services.store.get(job_id))


@router.delete("/{job_id}", dependencies=_OF_ONE_JOB)
def delete_job(services: Wired, calling: Calling, job_id: str, is_retry: IsRetry) -> JobDeleted:
    """Delete an ended job with all that it has left: its model, checkpoints, events, logs and
    numbers. The files that it was trained on stay.

    409 while it has not ended (cancel it first), and while a job that has not ended starts from its
    model or from one of its checkpoints.
    """
    freed = deletion.delete_job(job_id, caller=calling, is_retry=is_retry, services=services)
    return JobDeleted(id=job_id, freed_bytes=freed)


@router.post("/{job_id}/cancel", dependencies=_OF_ONE_JOB)
def cancel_job(
    services: Wired,
    view: Viewing,
    job_id: str,
    is_retry: IsRetry,
    save_checkpoint: Annotated[
        bool, Query(description="Whether a running trainer saves a checkpoint first.")
    ] = False,
) -> JobObject:
    """Cancel a job: one that waits at once, one that runs as soon as its worker hears of it.

    A running trainer is killed; with `save_checkpoint=true` it saves a checkpoint first. The
    checkpoints stay, and a cancelled job can be resumed.
    """
    wish = wishes.CANCEL_WITH_CHECKPOINT if save_checkpoint else wishes.CANCEL
    return view.one(wishes.fulfil(wish, job_id, is_retry=is_retry, services=services))


@router.post("/{job_id}/pause", dependencies=_OF_ONE_JOB)
def pause_job(services: Wired, view: Viewing, job_id: str, is_retry: IsRetry) -> JobObject:
    """Pause a job: one that waits at once, one that runs after a checkpoint.

    A paused job keeps its place in the queue, and no GPU.
    """
    job = wishes.fulfil(wishes.PAUSE, job_id, is_retry=is_retry, services=services)
    return view.one(job)


@router.post("/{job_id}/resume", dependencies=_OF_ONE_JOB)
def resume_job(services: Wired, view: Viewing, job_id: str, is_retry: IsRetry) -> JobObject:
    """Let a paused, failed or cancelled job go on from its newest checkpoint.

    A pause that was not yet carried out is taken back.
    """
    job = wishes.fulfil(wishes.RESUME, job_id, is_retry=is_retry, services=services)
    return view.one(job)
