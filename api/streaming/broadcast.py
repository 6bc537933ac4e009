"""Broadcaster of live streams: one task per process reads Redis and feeds all clients.

A subscription starts at the current end of the stream. The client reads everything before it from
the history. Nothing is lost between the two. Each client has a bounded queue of frames, and a slow
client returns to the history.

A frame is a server-sent event, encoded once for all clients:

    id: ft-event-1764000000000-0
    data: {"id":"ft-event-1764000000000-0","object":"fine_tuning.job.event","seq":7, ...}

After the end of its job, a stream closes with `event: end` and `data: {"status":"succeeded"}`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal, cast

from pydantic import SecretStr, ValidationError
from redis.exceptions import RedisError

from api.schemas.history import EventObject, LogLineObject
from worker.jobs.events import Event, LogLine
from worker.jobs.job import Status
from worker.jobs.store import keys
from worker.jobs.store.redis import open_async_redis, translate_redis_errors
from worker.jobs.store.serialization import read_event, read_log_line

Topic = Literal["events", "logs"]

_FINAL = frozenset(status.value for status in Status if status.is_final)

HEARTBEAT = b": still here\n\n"
RETRY = b"retry: 2000\n\n"
"""Delay before a browser reconnects, in milliseconds."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One encoded item of a stream."""

    cursor: tuple[int, int]
    """Increases along the stream. Identifies the frames that a client already has."""
    data: bytes
    end: Status | None = None
    """Final status of the job, if this event ends it."""


def sse_event_of(item: Event | LogLine) -> SseEvent:
    """Returns the frame of an event or a log line."""
    # ASCII: many clients also split lines at U+2028 and similar, which JSON does not escape.
    shown = EventObject.of(item) if isinstance(item, Event) else LogLineObject.of(item)
    return SseEvent(
        cursor=cursor_of(item.id),
        data=f"id: {shown.id}\ndata: {shown.model_dump_json(ensure_ascii=True)}\n\n".encode(),
        end=_end(item) if isinstance(item, Event) else None,
    )


def read_sse_event(topic: Topic, entry_id: str, fields: Mapping[str, str]) -> SseEvent:
    """Returns the frame of an entry of a job's Redis stream."""
    read = read_event if topic == "events" else read_log_line
    return sse_event_of(read(entry_id, fields))


def cursor_of(entry_id: str) -> tuple[int, int]:
    """Returns the id of a stream entry as a pair. Pairs compare in stream order.

    >>> cursor_of("1764000000000-9") < cursor_of("1764000000000-10")
    True
    """
    milliseconds, number = entry_id.split("-")
    return int(milliseconds), int(number)


def end_event(status: Status) -> bytes:
    """Returns the final frame, which carries the job's status."""
    return f'event: end\ndata: {{"status":"{status.value}"}}\n\n'.encode()


def _end(event: Event) -> Status | None:
    status = event.data.get("status")
    return Status(status) if status in _FINAL else None


MAX_WAITING_FRAMES = 1000
"""Maximum number of unread frames per client."""


class Signal(Enum):
    """Signals that a subscription delivers besides frames."""

    ENDED = auto()
    """The job ended, and its history is complete."""
    MISSED = auto()
    """The client was too slow and frames were dropped. It must continue from the history."""
    CLOSED = auto()
    """This process is shutting down."""


class StreamSubscription:
    """Unread frames and signals of one client, bounded in number."""

    def __init__(self) -> None:
        self._waiting: deque[SseEvent | Signal] = deque()
        self._news = asyncio.Event()
        self._has_missed = False

    def put(self, item: SseEvent | Signal) -> None:
        if isinstance(item, SseEvent) and not self._has_missed:
            self._has_missed = len(self._waiting) >= MAX_WAITING_FRAMES
            if self._has_missed:
                self._waiting = deque(each for each in self._waiting if isinstance(each, Signal))
                item = Signal.MISSED
        elif isinstance(item, SseEvent):
            return
        self._waiting.append(item)
        self._news.set()

    async def take(self, *, timeout_seconds: float) -> tuple[SseEvent | Signal, ...]:
        """Returns the items received so far, in order. Empty after a timeout."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        except TimeoutError:
            return ()
        items = tuple(self._waiting)
        self._waiting.clear()
        self._news.clear()
        self._has_missed = False
        return items


_BLOCK_MS = 250
"""Maximum delay before the reader notices a new client. The pinned cursor compensates for it."""
_TIMEOUT_SECONDS = 5.0
_MAX_CONNECTIONS = 4
_POOL_TIMEOUT_SECONDS = 30.0
_RETRY_SECONDS = 0.5
_BATCH = 500

Entries = list[tuple[str, Mapping[str, str]]]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Channel:
    """One Redis stream that the task reads."""

    topic: Topic
    cursor: str
    readers: set[StreamSubscription] = field(default_factory=set)
    waiting_for_end: set[StreamSubscription] = field(default_factory=set)


class StreamBroadcaster:
    """Reader of all streams with at least one client. Used in one event loop."""

    def __init__(self, redis_url: SecretStr) -> None:
        self._redis = open_async_redis(
            redis_url,
            timeout_seconds=_TIMEOUT_SECONDS,
            max_connections=_MAX_CONNECTIONS,
            patience_seconds=_POOL_TIMEOUT_SECONDS,
        )
        self._channels: dict[str, _Channel] = {}
        self._clients: set[StreamSubscription] = set()
        self._has_clients = asyncio.Event()
        self._is_closed = False

    @property
    def num_clients(self) -> int:
        return len(self._clients)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reads streams while the context is open."""
        self._is_closed = False
        task = asyncio.create_task(self._read_until_closed())
        try:
            yield
        finally:
            self.close()
            # The task is not cancelled: a cancellation was once lost inside a blocking read, and
            # the caller then waited forever. The read ends by itself.
            await asyncio.wait({task}, timeout=_TIMEOUT_SECONDS)
            await self._redis.aclose()
            await asyncio.wait({task}, timeout=_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Signals all clients that this process stops. They reconnect with their cursor."""
        self._is_closed = True
        self._has_clients.set()  # wakes the reader so that it ends
        for client in self._clients:
            client.put(Signal.CLOSED)

    @asynccontextmanager
    async def subscribe(self, job_id: str, topic: Topic) -> AsyncIterator[StreamSubscription]:
        """Subscribes to new items of the job's stream and to the end of the job.

        Raises StoreUnavailableError.
        """
        content = keys.events(job_id) if topic == "events" else keys.logs(job_id)
        end = keys.events(job_id)
        at_content, at_end = [await self._newest(key) for key in (content, end)]
        subscription = StreamSubscription()
        reading = self._channels.setdefault(content, _Channel(topic, at_content))
        ending = self._channels.setdefault(end, _Channel("events", at_end))
        reading.readers.add(subscription)
        ending.waiting_for_end.add(subscription)
        self._clients.add(subscription)
        self._has_clients.set()
        if self._is_closed:
            subscription.put(Signal.CLOSED)
        try:
            yield subscription
        finally:
            self._leave(subscription, content, end)

    async def _newest(self, key: str) -> str:
        with translate_redis_errors():
            entries = await self._redis.xrevrange(key, count=1)
        return str(entries[0][0]) if entries else "0-0"

    def _leave(self, subscription: StreamSubscription, *stream_keys: str) -> None:
        self._clients.discard(subscription)
        for key in set(stream_keys):
            channel = self._channels[key]
            channel.readers.discard(subscription)
            channel.waiting_for_end.discard(subscription)
            if not channel.readers and not channel.waiting_for_end:
                del self._channels[key]
        if not self._clients:
            self._has_clients.clear()

    async def _read_until_closed(self) -> None:
        while not self._is_closed:
            await self._has_clients.wait()
            cursors = {key: channel.cursor for key, channel in self._channels.items()}
            if not cursors:
                continue
            try:
                answer = await self._redis.xread(cast(Any, cursors), count=_BATCH, block=_BLOCK_MS)
            except (RedisError, OSError) as error:
                # The cursors stay, so items are late but not lost.
                _log.warning("live streams: Redis is unavailable, retrying: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for key, entries in cast(list[tuple[str, Entries]], answer):
                self._deliver(key, entries)

    def _deliver(self, key: str, entries: Entries) -> None:
        channel = self._channels.get(key)
        if channel is None:
            return
        for entry_id, fields in entries:
            channel.cursor = entry_id
            try:
                sse_event = read_sse_event(channel.topic, entry_id, fields)
            except (ValidationError, KeyError):
                # One malformed entry must not stop the streams of all jobs. Clients see the gap by
                # its missing `seq`.
                _log.exception("live streams: skipping malformed entry %s of %s", entry_id, key)
                continue
            for reader in channel.readers:
                reader.put(sse_event)
            if sse_event.end is not None:
                for client in channel.waiting_for_end:
                    client.put(Signal.ENDED)
