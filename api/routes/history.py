"""History of a job: events, log lines and checkpoints. Events and log lines are also live
streams."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse

from api.dependencies import CallerDep, ServicesDep, get_job_or_404
from api.schemas.common import MOST_ITEMS, After, CheckpointDeleted, LastEventId, ListPage
from api.schemas.history import (
    CHECKPOINT_PREFIX,
    EVENT_PREFIX,
    CheckpointObject,
    EventObject,
    LogLineObject,
)
from api.services import deletion
from api.streaming.sse import MEDIA_TYPE, Stream, wants_stream
from worker.jobs.job import model_id

CheckpointName = Annotated[
    str, Path(description="The step of a checkpoint, or its id (`ftckpt_...`).")
]

router = APIRouter(
    prefix="/fine_tuning/jobs/{job_id}",
    tags=["history"],
    dependencies=[Depends(get_job_or_404)],
)

_LIVE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A page, or the live stream with `Accept: text/event-stream`.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


@router.get("/events", responses=_LIVE, response_model=ListPage[EventObject])
def list_events(
    services: ServicesDep,
    request: Request,
    job_id: str,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000, description=MOST_ITEMS)] = 20,
    last_event_id: LastEventId = None,
) -> ListPage[EventObject] | StreamingResponse:
    """List the events of a job, newest first.

    The live stream starts after `Last-Event-ID` (or `after`), oldest first, and continues with new
    events. It ends after the job's last event with `event: end`.
    """
    if wants_stream(request):
        cursor = _cursor(last_event_id or after, EVENT_PREFIX)
        return Stream.response(services, job_id, topic="events", after=cursor)
    page = services.history.events(job_id, after=_cursor(after, EVENT_PREFIX), limit=limit)
    events = [EventObject.of(event) for event in page.items]
    return ListPage[EventObject].of(events, has_more=page.has_more)


@router.get("/logs", responses=_LIVE, response_model=ListPage[LogLineObject])
def list_logs(
    services: ServicesDep,
    request: Request,
    job_id: str,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description=MOST_ITEMS)] = 1000,
    tail: Annotated[
        int | None, Query(ge=1, le=10_000, description="Return only this many last lines.")
    ] = None,
    last_event_id: LastEventId = None,
) -> ListPage[LogLineObject] | StreamingResponse:
    """List the trainer's log lines, oldest first. With `tail`, only the last ones.

    The live stream starts after `Last-Event-ID` (or `after`) and continues until the job ends.
    """
    if wants_stream(request):
        return Stream.response(services, job_id, topic="logs", after=last_event_id or after)
    page = services.history.logs(job_id, after=after, limit=limit, tail=tail)
    lines = [LogLineObject.of(line) for line in page.items]
    return ListPage[LogLineObject].of(lines, has_more=page.has_more)


@router.get("/checkpoints")
def list_checkpoints(
    services: ServicesDep,
    job_id: str,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000, description=MOST_ITEMS)] = 10,
) -> ListPage[CheckpointObject]:
    """List the complete checkpoints of a job, newest first."""
    job = services.store.get(job_id)
    cursor = _cursor(after, CHECKPOINT_PREFIX)
    page = services.history.checkpoints(job_id, after=cursor, limit=limit)
    checkpoints = [CheckpointObject.of(checkpoint, job=job) for checkpoint in page.items]
    return ListPage[CheckpointObject].of(checkpoints, has_more=page.has_more)


@router.delete("/checkpoints/{checkpoint}")
def delete_checkpoint(
    services: ServicesDep, calling: CallerDep, job_id: str, checkpoint: CheckpointName
) -> CheckpointDeleted:
    """Delete a checkpoint of an ended job, with its files.

    Returns 409 if the job has not ended, or if another job that has not ended starts from it.
    """
    job = services.store.get(job_id)
    step, freed = deletion.delete_checkpoint(job_id, checkpoint, caller=calling, services=services)
    model = model_id(job.id, job.spec, step=step)
    return CheckpointDeleted(id=model, step_number=step, freed_bytes=freed)


def _cursor(item_id: str | None, prefix: str) -> str | None:
    return None if item_id is None else item_id.removeprefix(prefix)
