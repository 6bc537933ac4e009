"""Wire format of live streams: server-sent events, encoded once for all clients.

    id: ft-event-1764000000000-0
    data: {"id":"ft-event-1764000000000-0","object":"fine_tuning.job.event","seq":7, ...}

After the end of its job, a stream closes with `event: end` and `data: {"status":"succeeded"}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from api.schemas.history import EventObject, LogLineObject
from worker.jobs.events import Event, LogLine
from worker.jobs.life import Status
from worker.jobs.store.serialization import read_event, read_log_line

Topic = Literal["events", "logs"]

_FINAL = frozenset(status.value for status in Status if status.is_final)

HEARTBEAT = b": still here\n\n"
RETRY = b"retry: 2000\n\n"
"""Delay before a browser reconnects, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One encoded item of a stream."""

    cursor: tuple[int, int]
    """Increases along the stream. Identifies the frames that a client already has."""
    data: bytes
    end: Status | None = None
    """Final status of the job, if this event ends it."""


def frame_of(item: Event | LogLine) -> Frame:
    """Returns the frame of an event or a log line."""
    # ASCII: many clients also split lines at U+2028 and similar, which JSON does not escape.
    shown = EventObject.of(item) if isinstance(item, Event) else LogLineObject.of(item)
    return Frame(
        cursor=cursor_of(item.id),
        data=f"id: {shown.id}\ndata: {shown.model_dump_json(ensure_ascii=True)}\n\n".encode(),
        end=_end(item) if isinstance(item, Event) else None,
    )


def read_frame(topic: Topic, entry_id: str, fields: Mapping[str, str]) -> Frame:
    """Returns the frame of an entry of a job's Redis stream."""
    read = read_event if topic == "events" else read_log_line
    return frame_of(read(entry_id, fields))


def cursor_of(entry_id: str) -> tuple[int, int]:
    """Returns the id of a stream entry as a pair. Pairs compare in stream order.

    >>> cursor_of("1764000000000-9") < cursor_of("1764000000000-10")
    True
    """
    milliseconds, number = entry_id.split("-")
    return int(milliseconds), int(number)


def end_frame(status: Status) -> bytes:
    """Returns the final frame, which carries the job's status."""
    return f'event: end\ndata: {{"status":"{status.value}"}}\n\n'.encode()


def _end(event: Event) -> Status | None:
    status = event.data.get("status")
    return Status(status) if status in _FINAL else None
