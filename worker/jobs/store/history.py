"""Reads a job's events, log lines and checkpoints, page by page with cursors.

Redis keeps the newest entries of each stream; older log lines are read from the run directory.
"""

import re
from collections.abc import Callable
from typing import TypeVar, cast

from redis import Redis

from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.events import Checkpoint, Event, LogLine, Page
from worker.jobs.storage.paths import Home
from worker.jobs.storage.run_files import lines_after, position_of
from worker.jobs.store import keys
from worker.jobs.store.redis import translate_redis_errors
from worker.jobs.store.serialization import read_checkpoint, read_event, read_log_line

Item = TypeVar("Item")
Entry = tuple[str, dict[str, str]]

_CURSOR = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)
_LARGEST = 2**64 - 1


class JobHistory:
    """The history of jobs. Every method raises NotFoundError for an unknown job,
    InvalidRequestError for an invalid cursor, and StoreUnavailableError."""

    def __init__(self, redis: Redis, home: Home) -> None:
        self._redis = redis
        self._home = home

    def events(self, job_id: str, *, after: str | None = None, limit: int = 20) -> Page[Event]:
        """Returns events, newest first; `after` is the last id of the previous page."""
        stream = self._stream(job_id, keys.events(job_id), after=after)
        return _page(self._down(stream, after=after, limit=limit), limit=limit, read=read_event)

    def events_since(
        self, job_id: str, *, after: str | None = None, limit: int = 1000
    ) -> Page[Event]:
        """Returns the events after the event `after`, oldest first."""
        stream = self._stream(job_id, keys.events(job_id), after=after)
        return _page(self._up(stream, after=after, limit=limit), limit=limit, read=read_event)

    def logs(
        self, job_id: str, *, after: str | None = None, limit: int = 1000, tail: int | None = None
    ) -> Page[LogLine]:
        """Returns the lines after the line `after`, or the last `tail` lines, oldest first."""
        if tail is not None and after is not None:
            raise InvalidRequestError("tail and after can't be combined", param="tail")
        stream = self._stream(job_id, keys.logs(job_id), after=after)
        if tail is None:
            if dropped := self._dropped_lines(job_id, after=after, limit=limit):
                return Page(items=tuple(dropped), has_more=True)
            entries = self._up(stream, after=after, limit=limit)
            return _page(entries, limit=limit, read=read_log_line)
        last = self._down(stream, after=None, limit=tail)[:tail]
        return Page(items=tuple(read_log_line(*entry) for entry in reversed(last)), has_more=False)

    def _dropped_lines(self, job_id: str, *, after: str | None, limit: int) -> list[LogLine]:
        """Returns at most `limit` lines between the cursor and the oldest line in Redis. Empty if
        there are none, or the file is gone."""
        with translate_redis_errors():
            oldest = cast(list[Entry], self._redis.xrange(keys.logs(job_id), count=1))
        _, seq = position_of(after)
        num_dropped = int(oldest[0][1]["seq"]) - 1 - seq if oldest else 0
        if num_dropped <= 0:
            return []
        log = self._home.run_directory(job_id).log
        try:
            return lines_after(log, after, limit=min(limit, num_dropped))
        except ValueError as error:
            raise _unknown(job_id, str(after)) from error

    def checkpoints(
        self, job_id: str, *, after: str | None = None, limit: int = 10
    ) -> Page[Checkpoint]:
        """Returns checkpoints, newest first; `after` is the last id of the previous page."""
        stream = self._stream(job_id, keys.checkpoints(job_id), after=after)
        entries = self._down(stream, after=after, limit=limit)
        return _page(entries, limit=limit, read=read_checkpoint)

    def _stream(self, job_id: str, stream: str, *, after: str | None) -> str:
        """Returns the stream's key after checking that the job and the cursor exist.

        A cursor older than the oldest entry is valid: its entry was trimmed.
        """
        if after is not None:
            _check_form(after)
        with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.exists(keys.job(job_id))
            pipeline.xrange(stream, count=1)
            pipeline.xrange(stream, min=after or "+", max=after or "-", count=1)
            job_exists, oldest, at_cursor = pipeline.execute()
        if not job_exists:
            raise NotFoundError(f"no job {job_id!r}")
        if after is not None and not at_cursor and not (oldest and _is_older(after, oldest[0][0])):
            raise _unknown(job_id, after)
        return stream

    def _down(self, stream: str, *, after: str | None, limit: int) -> list[Entry]:
        """Returns up to `limit` + 1 entries, newest first."""
        if after is not None and not any(map(int, after.split("-"))):
            return []  # Redis rejects a range below the smallest id
        with translate_redis_errors():
            entries = self._redis.xrevrange(
                stream, max=f"({after}" if after else "+", count=limit + 1
            )
        return cast(list[Entry], entries)

    def _up(self, stream: str, *, after: str | None, limit: int) -> list[Entry]:
        """Returns up to `limit` + 1 entries, oldest first."""
        with translate_redis_errors():
            entries = self._redis.xrange(stream, min=f"({after}" if after else "-", count=limit + 1)
        return cast(list[Entry], entries)


def _unknown(job_id: str, cursor: str) -> InvalidRequestError:
    return InvalidRequestError(f"job {job_id} has no item with id {cursor!r}", param="after")


def _page(
    entries: list[Entry], *, limit: int, read: Callable[[str, dict[str, str]], Item]
) -> Page[Item]:
    items = tuple(read(*entry) for entry in entries[:limit])
    return Page(items=items, has_more=len(entries) > limit)


def _check_form(cursor: str) -> None:
    if not _CURSOR.fullmatch(cursor) or max(map(int, cursor.split("-"))) > _LARGEST:
        raise InvalidRequestError(
            f"invalid cursor {cursor!r}; expected the id of an item, such as 1764000000000-0",
            param="after",
        )


def _is_older(cursor: str, other: str) -> bool:
    first, second = (tuple(map(int, each.split("-"))) for each in (cursor, other))
    return first < second
