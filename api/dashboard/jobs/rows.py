"""Paged and filtered search for the list of jobs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Self
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from api.dashboard.job_row import JobRow, RowBoard
from api.dashboard.visitor import Visitor
from worker.jobs.job import Job
from worker.jobs.life import Status

PAGE = 25
_BATCH = 100
_MAX_SCANNED = 2000
"""Maximum number of jobs scanned for one filtered page. The next page continues after them."""


@dataclass(frozen=True, slots=True)
class Search:
    """Filter of the list. The page's address holds it, so a reload keeps it."""

    status: Status | None = None
    words: str = ""
    after: str | None = None
    """Id of the last job on the previous page."""

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        status, words = query.get("status"), query.get("q", "")
        known = Status(status) if status in set(Status) else None
        return cls(status=known, words=words[:200], after=query.get("after") or None)

    @property
    def is_filter(self) -> bool:
        return self.status is not None or bool(self.words.strip())

    @property
    def address(self) -> str:
        given = {"status": self.status, "q": self.words, "after": self.after}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"/?{query}" if query else "/"

    def behind(self, job_id: str | None) -> Self:
        """Returns the page after this job; the first page for None."""
        return replace(self, after=job_id)


@dataclass(frozen=True, slots=True)
class Found:
    """One page of the list."""

    rows: tuple[JobRow, ...]
    older: str | None
    """Cursor of the next page; None on the last page."""


def find_jobs(visitor: Visitor, search: Search, board: RowBoard) -> Found:
    """Returns a page of matching jobs, newest first.

    Raises SessionEndedError, StoreUnavailableError, and InvalidRequestError for a bad `after`.
    """
    found: list[Job] = []
    last, has_more = search.after, False
    for num_scanned, job in enumerate(_newest_first(visitor, search)):
        if len(found) == PAGE or num_scanned == _MAX_SCANNED:
            has_more = True
            break
        last = job.id
        if _matches(job, search, board.data_name(visitor, job.spec.training_file)):
            found.append(job)
    rows = board.rows(visitor, found, now=time.time())
    return Found(rows, older=last if has_more else None)


def _newest_first(visitor: Visitor, search: Search) -> Iterator[Job]:
    after, owner = search.after, visitor.caller.limited_to
    limit = _BATCH if search.is_filter else PAGE + 1
    while True:
        page = visitor.services.store.list(after=after, limit=limit, owner=owner)
        yield from page.items
        if not page.has_more:
            return
        after = page.items[-1].id


def _matches(job: Job, search: Search, data: str) -> bool:
    if search.status not in (None, job.status):
        return False
    texts = (job.id, job.spec.model, job.spec.suffix or "", data, job.owner)
    text = "\n".join((*texts, *job.spec.metadata, *job.spec.metadata.values())).lower()
    return all(word in text for word in search.words.lower().split())


def recent_jobs(visitor: Visitor, *, limit: int) -> tuple[Job, ...]:
    """Returns the newest jobs."""
    return tuple(islice(_newest_first(visitor, Search(status=None)), limit))
