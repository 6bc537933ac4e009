"""Live stream of one client: the history from its cursor, then new items until the job ends."""

import logging
import random
from collections.abc import AsyncIterator, Iterable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from api.dependencies import Services
from api.http.errors import TooManyStreamsError
from api.streaming.broadcast import (
    HEARTBEAT,
    RETRY,
    Signal,
    SseEvent,
    StreamSubscription,
    Topic,
    cursor_of,
    end_event,
    sse_event_of,
)
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.events import Event, LogLine, Page
from worker.jobs.job import Status

MEDIA_TYPE = "text/event-stream"
_PAGE = 500
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_log = logging.getLogger(__name__)


def wants_stream(request: Request) -> bool:
    """Returns True if the caller requests the live form of a list."""
    return MEDIA_TYPE in request.headers.get("accept", "")


class Stream:
    """Stream of a job's events or log lines to one client."""

    def __init__(self, services: Services, job_id: str, *, topic: Topic, after: str | None) -> None:
        self._services = services
        self._job_id = job_id
        self._topic = topic
        self._sent = after
        self._is_closed = False
        self._end: Status | None = None
        # Jitter: streams that became idle together must not all read their histories at once.
        share = random.uniform(0.5, 1)  # noqa: S311 - no secret
        self._silence_seconds = services.settings.sse_keepalive_seconds * share

    @classmethod
    def response(
        cls, services: Services, job_id: str, *, topic: Topic, after: str | None
    ) -> StreamingResponse:
        """Returns the stream, which begins after the cursor `after`.

        Raises NotFoundError for the job and InvalidRequestError for the cursor before anything is
        sent. Raises TooManyStreamsError when this process has reached its limit.
        """
        if services.broadcaster.num_clients >= services.settings.max_stream_clients:
            raise TooManyStreamsError(
                f"all {services.settings.max_stream_clients} live streams of this server are in "
                "use; read the list page by page, or retry later"
            )
        stream = cls(services, job_id, topic=topic, after=after)
        stream._history_page(limit=1)
        return StreamingResponse(stream._frames(), media_type=MEDIA_TYPE, headers=HEADERS)

    async def _frames(self) -> AsyncIterator[bytes]:
        yield RETRY
        try:
            async with self._services.broadcaster.subscribe(
                self._job_id, self._topic
            ) as subscription:
                async for data in self._history_and_live(subscription):
                    yield data
        except StoreUnavailableError as error:
            # The response has begun, so it can only end. The client reconnects with its cursor.
            _log.warning("job %s: live stream ended early: %s", self._job_id, error)

    async def _history_and_live(self, subscription: StreamSubscription) -> AsyncIterator[bytes]:
        while not self._is_closed:
            # Read before the history: if the job has ended, the history is then complete.
            job = await run_in_threadpool(self._services.store.get, self._job_id)
            async for data in self._history():
                yield data
            if job.status.is_final:
                yield end_event(job.status)
                return
            async for data in self._live(subscription):
                yield data
            if self._end is not None:
                yield end_event(self._end)
                return

    async def _history(self) -> AsyncIterator[bytes]:
        has_more = True
        while has_more:
            page = await run_in_threadpool(self._history_page, limit=_PAGE)
            has_more = page.has_more
            if data := self._unsent(sse_event_of(item) for item in page.items):
                yield data

    async def _live(self, subscription: StreamSubscription) -> AsyncIterator[bytes]:
        """Yields live frames until the history must be read again. Reasons: missed frames, the end
        of the job, or a long silence, after which a read is cheap."""
        while True:
            items = await subscription.take(timeout_seconds=self._silence_seconds)
            frames = [item for item in items if isinstance(item, SseEvent)]
            signals = [item for item in items if isinstance(item, Signal)]
            if data := self._unsent(frames):
                yield data
            if not items:
                yield HEARTBEAT
            self._is_closed = Signal.CLOSED in signals
            if self._topic == "events" and frames and Signal.MISSED not in signals:
                # The client has received every frame before this one. Without this, all clients of
                # a job would query the store at its end. (Log lines are in another stream.)
                self._end = frames[-1].end
            if signals or not items:
                return

    def _history_page(self, *, limit: int) -> Page[Event] | Page[LogLine]:
        history, after = self._services.history, self._sent
        if self._topic == "events":
            return history.events_since(self._job_id, after=after, limit=limit)
        return history.logs(self._job_id, after=after, limit=limit)

    def _unsent(self, frames: Iterable[SseEvent]) -> bytes:
        """Returns the frames that the client does not have yet, and marks them as sent."""
        unsent = []
        for sse_event in frames:
            if self._sent is None or sse_event.cursor > cursor_of(self._sent):
                unsent.append(sse_event.data)
                self._sent = "{}-{}".format(*sse_event.cursor)
        return b"".join(unsent)
