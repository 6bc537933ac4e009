"""Rows of the list of jobs: display data, paged and filtered search, and a shared cache.

A row has a job's description, status, progress and possible actions. All pages of a process share
the cache: data are read once and shown in every browser.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Self
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from api.dashboard.jobs.live_curve import CurveCache
from api.dashboard.jobs.sparkline import Sparklines
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.format import ago, duration, number
from worker.jobs.job import Job, Status
from worker.jobs.storage.files import FILE_IDS

_PHASES = {
    "preprocessing": "preparing data",
    "loading_model": "loading model",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """Actions that a job allows now."""

    pause: bool
    resume: bool
    cancel: bool
    delete: bool

    @classmethod
    def of(cls, job: Job) -> "Choices":
        is_over = job.status.is_final or job.is_cancelling
        is_resting = job.status in (Status.PAUSED, Status.FAILED, Status.CANCELLED)
        return cls(
            pause=not is_over and not job.is_pausing and job.status is not Status.PAUSED,
            resume=(is_resting or job.is_pausing) and not job.is_cancelling,
            cancel=not is_over,
            delete=job.status.is_final,
        )


@dataclass(frozen=True, slots=True)
class JobRow:
    """Displayed fields of one job. Equal rows look the same."""

    id: str
    name: str
    status: str
    activity_label: str
    """Phase, reason for waiting, or error."""
    model: str
    data: str
    owner: str
    share: float
    """Completed fraction of the training, 0 to 1."""
    progress: str
    loss: str
    curve: str
    """Points of the sparkline."""
    created: str
    choices: Choices


def name_of(job: Job) -> str:
    """Returns the display name: the suffix, or the end of the id."""
    return job.spec.suffix or job.id[-8:]


def activity_label(job: Job, *, waits_for: str | None) -> str:
    """Returns a short description of the current activity."""
    if job.is_cancelling:
        return "cancelling"
    if job.is_pausing:
        return "pausing after the next checkpoint"
    if job.error is not None and job.status is Status.FAILED:
        return job.error.message
    if job.status is Status.VALIDATING_FILES:
        return "validating files"
    if waits_for:
        return f"waiting for {waits_for}"
    return _PHASES.get(job.phase or "", job.phase or "")


def progress_text(job: Job) -> str:
    """Returns the current step and the time left."""
    if job.progress is None:
        return ""
    done = f"step {number(job.progress.step)} of {number(job.progress.max_steps)}"
    if job.status is Status.RUNNING and job.progress.eta_seconds is not None:
        return f"{done}, {duration(job.progress.eta_seconds)} left"
    return done


def share_of(job: Job) -> float:
    """Returns the completed fraction of the training, 0 to 1."""
    if job.status is Status.SUCCEEDED:
        return 1.0
    return 0.0 if job.progress is None else min(1.0, job.progress.percent / 100)


class JobRowCache:
    """Builds job rows. Caches file names and sparklines, which rarely change."""

    def __init__(self) -> None:
        self._sparklines = Sparklines()
        self._names: dict[str, str] = {}

    def rows(self, user: SessionUser, jobs: Sequence[Job], *, now: float) -> tuple[JobRow, ...]:
        """Returns the rows of these jobs."""
        reasons = user.services.queue_position.explain(jobs)
        return tuple(
            JobRow(
                id=job.id,
                name=name_of(job),
                status=job.status.value,
                activity_label=activity_label(job, waits_for=reasons.get(job.id)),
                model=job.spec.model,
                data=self.data_name(user, job.spec.training_file),
                owner=job.owner,
                share=share_of(job),
                progress=progress_text(job),
                loss=""
                if job.progress is None or job.progress.loss is None
                else f"loss {number(round(job.progress.loss, 4))}",
                curve=self._sparklines.of(user.services.home.run_directory(job.id).progress),
                created=ago(job.created_at, now=now),
                choices=Choices.of(job),
            )
            for job in jobs
        )

    def data_name(self, user: SessionUser, reference: str) -> str:
        """Returns the name of an uploaded file; the reference for a path or a deleted file."""
        if not FILE_IDS.matches(reference):
            return reference
        if reference not in self._names:
            stored = user.services.files.find(reference)
            if stored is None:
                return f"{reference} (deleted)"
            if len(self._names) > 10_000:
                self._names.clear()
            self._names[reference] = stored.filename
        return self._names[reference]


PAGE = 25
_BATCH = 100
_MAX_SCANNED = 2000
"""Maximum number of jobs scanned for one filtered page. The next page continues after them."""


@dataclass(frozen=True, slots=True)
class Search:
    """Filter of the list. The page's address holds it, so a reload keeps it."""

    status: Status | None = None
    terms: str = ""
    after: str | None = None
    """Id of the last job on the previous page."""

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        status, terms = query.get("status"), query.get("q", "")
        known = Status(status) if status in set(Status) else None
        return cls(status=known, terms=terms[:200], after=query.get("after") or None)

    @property
    def is_filter(self) -> bool:
        return self.status is not None or bool(self.terms.strip())

    @property
    def address(self) -> str:
        given = {"status": self.status, "q": self.terms, "after": self.after}
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


def find_jobs(user: SessionUser, search: Search, row_cache: JobRowCache) -> Found:
    """Returns a page of matching jobs, newest first.

    Raises SessionEndedError, StoreUnavailableError, and InvalidRequestError for a bad `after`.
    """
    found: list[Job] = []
    last, has_more = search.after, False
    for num_scanned, job in enumerate(_newest_first(user, search)):
        if len(found) == PAGE or num_scanned == _MAX_SCANNED:
            has_more = True
            break
        last = job.id
        if _matches(job, search, row_cache.data_name(user, job.spec.training_file)):
            found.append(job)
    rows = row_cache.rows(user, found, now=time.time())
    return Found(rows, older=last if has_more else None)


def _newest_first(user: SessionUser, search: Search) -> Iterator[Job]:
    after, owner = search.after, user.caller.owner_filter
    limit = _BATCH if search.is_filter else PAGE + 1
    while True:
        page = user.services.store.list(after=after, limit=limit, owner=owner)
        yield from page.items
        if not page.has_more:
            return
        after = page.items[-1].id


def _matches(job: Job, search: Search, data: str) -> bool:
    if search.status not in (None, job.status):
        return False
    texts = (job.id, job.spec.model, job.spec.suffix or "", data, job.owner)
    text = "\n".join((*texts, *job.spec.metadata, *job.spec.metadata.values())).lower()
    return all(word in text for word in search.terms.lower().split())


def recent_jobs(user: SessionUser, *, limit: int) -> tuple[Job, ...]:
    """Returns the newest jobs."""
    return tuple(islice(_newest_first(user, Search(status=None)), limit))


@dataclass(frozen=True, slots=True)
class SharedPageCache:
    """Cached job rows and curves; safe to lose."""

    rows: JobRowCache = field(default_factory=JobRowCache)
    curves: CurveCache = field(default_factory=CurveCache)
