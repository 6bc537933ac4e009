"""The wire form of live streams: server-sent events, encoded once for all clients.

    id: ft-event-1764000000000-0
    data: {"id":"ft-event-1764000000000-0","object":"fine_tuning.job.event","seq":7, ...}

A stream whose job ended closes with `event: end` and `data: {"status":"succeeded"}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from api.schemas.history import EventObject, LogLineObject
from worker.jobs.events import Event, LogLine
from worker.jobs.life import Status
from worker.jobs.records import read_event, read_log_line

Topic = Literal["events", "logs"]

_FINAL = frozenset(status.value for status in Status if status.is_final)

HEARTBEAT = b": still here\n\n"
RETRY = b"retry: 2000\n\n"
"""How long a browser waits before it connects again, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One item on its way to clients."""

    cursor: tuple[int, int]
    """Grows along the stream: what was sent already is told by it."""
    data: bytes
    end: Status | None = None
    """How the job ended, for the event that says so."""


def frame_of(item: Event | LogLine) -> Frame:
    """The frame of an event or a log line."""
    # In ASCII: many clients split lines at U+2028 and its like too, which JSON leaves as they are.
    shown = EventObject.of(item) if isinstance(item, Event) else LogLineObject.of(item)
    return Frame(
        cursor=cursor_of(item.id),
        data=f"id: {shown.id}\ndata: {shown.model_dump_json(ensure_ascii=True)}\n\n".encode(),
        end=_end(item) if isinstance(item, Event) else None,
    )


def read_frame(topic: Topic, entry_id: str, fields: Mapping[str, str]) -> Frame:
    """The frame of an entry of a job's stream in Redis."""
    read = read_event if topic == "events" else read_log_line
    return frame_of(read(entry_id, fields))


def cursor_of(entry_id: str) -> tuple[int, int]:
    """The id of a stream's entry as a pair that compares as the entries do.

    >>> cursor_of("1764000000000-9") < cursor_of("1764000000000-10")
    True
    """
    milliseconds, number = entry_id.split("-")
    return int(milliseconds), int(number)


def end_frame(status: Status) -> bytes:
    """What tells a client that nothing follows, and why."""
    return f'event: end\ndata: {{"status":"{status.value}"}}\n\n'.encode()


def _end(event: Event) -> Status | None:
    status = event.data.get("status")
    return Status(status) if status in _FINAL else None
