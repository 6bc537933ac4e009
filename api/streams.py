"""One client's live stream: first the history from its cursor, then what happens, to the end."""

import logging
import random
from collections.abc import AsyncIterator, Iterable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from api.errors import TooManyStreamsError
from api.frames import HEARTBEAT, RETRY, Frame, Topic, cursor_of, end_frame, frame_of
from api.services import Services
from api.subscription import Signal, Subscription
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.events import Event, LogLine, Page
from worker.jobs.life import Status

MEDIA_TYPE = "text/event-stream"
_PAGE = 500
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_log = logging.getLogger(__name__)


def wants_stream(request: Request) -> bool:
    """Whether the caller asks for the live form of a list."""
    return MEDIA_TYPE in request.headers.get("accept", "")


class Stream:
    """What one client has been sent of a job's events or log lines."""

    def __init__(self, services: Services, job_id: str, *, topic: Topic, after: str | None) -> None:
        self._services = services
        self._job_id = job_id
        self._topic = topic
        self._sent = after
        self._is_closed = False
        self._end: Status | None = None
        # Streams that fell silent together must not look at their histories together.
        share = random.uniform(0.5, 1)  # noqa: S311 - no secret
        self._silence_seconds = services.settings.heartbeat_seconds * share

    @classmethod
    def response(
        cls, services: Services, job_id: str, *, topic: Topic, after: str | None
    ) -> StreamingResponse:
        """The stream from the item after the cursor `after`.

        Raises NotFoundError for the job and InvalidRequestError for the cursor before anything is
        sent, TooManyStreamsError when this process has no room.
        """
        if services.tail.num_clients >= services.settings.max_stream_clients:
            raise TooManyStreamsError(
                f"all {services.settings.max_stream_clients} live streams of this server are "
                "taken; read the list page by page, or come back"
            )
        stream = cls(services, job_id, topic=topic, after=after)
        stream._history_page(limit=1)
        return StreamingResponse(stream._frames(), media_type=MEDIA_TYPE, headers=HEADERS)

    async def _frames(self) -> AsyncIterator[bytes]:
        yield RETRY
        try:
            async with self._services.tail.subscribe(self._job_id, self._topic) as subscription:
                async for data in self._history_and_live(subscription):
                    yield data
        except StoreUnavailableError as error:
            # The answer has begun, so that it can only end; the client returns with its cursor.
            _log.warning("stream of %s ends early: %s", self._job_id, error)

    async def _history_and_live(self, subscription: Subscription) -> AsyncIterator[bytes]:
        while not self._is_closed:
            # Asked before the history is read: what an ended job wrote is all in there.
            job = await run_in_threadpool(self._services.store.get, self._job_id)
            async for data in self._history():
                yield data
            if job.status.is_final:
                yield end_frame(job.status)
                return
            async for data in self._live(subscription):
                yield data
            if self._end is not None:
                yield end_frame(self._end)
                return

    async def _history(self) -> AsyncIterator[bytes]:
        has_more = True
        while has_more:
            page = await run_in_threadpool(self._history_page, limit=_PAGE)
            has_more = page.has_more
            if data := self._unsent(frame_of(item) for item in page.items):
                yield data

    async def _live(self, subscription: Subscription) -> AsyncIterator[bytes]:
        """Until it is time to look at the history again: frames were missed, the job ended, or
        nothing came for so long that a look costs nothing."""
        while True:
            items = await subscription.take(timeout_seconds=self._silence_seconds)
            frames = [item for item in items if isinstance(item, Frame)]
            signals = [item for item in items if isinstance(item, Signal)]
            if data := self._unsent(frames):
                yield data
            if not items:
                yield HEARTBEAT
            self._is_closed = Signal.CLOSED in signals
            if self._topic == "events" and frames and Signal.MISSED not in signals:
                # Nothing is before a frame that this client was not sent: a crowd that follows one
                # job need not ask the store about its end. (Log lines are in another stream.)
                self._end = frames[-1].end
            if signals or not items:
                return

    def _history_page(self, *, limit: int) -> Page[Event] | Page[LogLine]:
        history, after = self._services.history, self._sent
        if self._topic == "events":
            return history.events_since(self._job_id, after=after, limit=limit)
        return history.logs(self._job_id, after=after, limit=limit)

    def _unsent(self, frames: Iterable[Frame]) -> bytes:
        """The frames that the client does not have yet, which count as sent from now on."""
        unsent = []
        for frame in frames:
            if self._sent is None or frame.cursor > cursor_of(self._sent):
                unsent.append(frame.data)
                self._sent = "{}-{}".format(*frame.cursor)
        return b"".join(unsent)
