"""Job page at `/jobs/{id}`: status, curves, log, events, checkpoints and configuration.

The configuration card shows the submitted values, then the defaults in an expansion.
"""

import json
import time
from dataclasses import dataclass

from fastapi import Request
from nicegui import ui

from api.dashboard.jobs.actions import ActionButtons
from api.dashboard.jobs.curves import Changes, JobCurves
from api.dashboard.jobs.log import LogPanel
from api.dashboard.jobs.outputs import CheckpointsPanel
from api.dashboard.jobs.rows import JobRow, SharedPageCache, name_of
from api.dashboard.jobs.timeline import TimelinePanel
from api.dashboard.new_job.integrations import described
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.layout import Poller, heading, page_layout
from flant5_train.config import Hyperparameters
from worker.jobs.job import Job, Status

_APART = {"hyperparameters", "metadata", "integrations"}


def configuration(job: Job) -> None:
    """Builds the card."""
    spec = job.spec.model_dump(exclude=_APART, exclude_none=True)
    chosen = {name: str(value) for name, value in spec.items()}
    chosen |= {f"metadata · {key}": value for key, value in job.spec.metadata.items()}
    for integration in job.spec.integrations:
        chosen |= described(integration)
    others: dict[str, str] = {}
    defaults = Hyperparameters().model_dump(mode="json")
    submitted = job.spec.hyperparameters.model_dump(mode="json")
    for name, value in job.hyperparameters.model_dump(mode="json").items():
        is_default = submitted[name] == defaults[name]
        shown = value if isinstance(value, str) else json.dumps(value)
        (others if is_default else chosen)[name] = shown
    with ui.element("section").classes("card"):
        heading("Configuration")
        _table(chosen)
        with ui.expansion("Defaults").props("dense"):
            _table(others)


def _table(values: dict[str, str]) -> None:
    with ui.element("dl").classes("values"):
        for name, value in values.items():
            with ui.element("dt"):
                ui.label(name).classes("quiet")
            with ui.element("dd"):
                ui.label(value).classes("mono wrap")


_LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class _News:
    row: JobRow
    error: str
    last_lines: tuple[str, ...]
    attempt: str
    curves: dict[str, Changes]


def job_page(request: Request, job: Job, page_cache: SharedPageCache) -> None:
    """Builds the page of a job."""
    user = SessionUser.of(request)
    with page_layout(request, name_of(job)):
        with ui.element("section").classes("card"):
            _JobHead(user, job, page_cache)
        LogPanel(user, job.id)
        with ui.element("div").classes("columns"):
            TimelinePanel(user, job.id)
            CheckpointsPanel(user, job.id)
            configuration(job)


class _JobHead:
    """Status, buttons, failure and curves."""

    def __init__(self, user: SessionUser, job: Job, page_cache: SharedPageCache) -> None:
        self._user = user
        self._job_id = job.id
        self._page_cache = page_cache
        with ui.row().classes("spread"):
            ui.label(name_of(job)).classes("title")
            self._status = ui.label().classes("chip")
            ui.space()
            self._actions = ActionButtons(
                user, self._look, after_delete=self._leave, are_small=False
            )
        ui.label(job.id).classes("mono quiet")
        self._about = ui.label().classes("quiet wrap")
        self._doing = ui.label().classes("wrap")
        self._bar = ui.linear_progress(value=0, show_value=False, size="8px").props("rounded")
        self._progress = ui.label().classes("quiet")
        with ui.element("div").classes("failure").props('role="alert"') as self._failure:
            self._error = ui.label().classes("wrap")
            self._lines = ui.label().classes("mono wrap failure-lines")
        self._failure.set_visibility(False)
        self._curves = JobCurves()
        self._poller = Poller(self._read, self._show)

    async def _look(self) -> None:
        await self._poller.refresh()

    async def _leave(self) -> None:
        """Returns to the list after the job was deleted."""
        ui.navigate.to("/")

    def _read(self) -> _News:
        user, job = self._user, self._user.job(self._job_id)
        curve = self._page_cache.curves.get(user.services.home.run_directory(job.id).progress)
        [row] = self._page_cache.rows.rows(user, [job], now=time.time())
        has_failed = job.status is Status.FAILED and job.error is not None
        lines = user.services.history.logs(job.id, tail=_LAST_LINES) if has_failed else None
        return _News(
            row=row,
            error=f"{job.error.message} ({job.error.code})" if has_failed and job.error else "",
            last_lines=tuple(line.line for line in lines.items) if lines else (),
            attempt=f"attempt {job.attempt}" if job.attempt > 1 else "",
            curves=self._curves.changes(curve),
        )

    def _show(self, news: _News) -> None:
        row = news.row
        self._status.set_text(row.status.replace("_", " "))
        self._status.classes(replace=f"chip {row.status}")
        about = (row.model, row.data, row.owner, f"created {row.created}", news.attempt)
        self._about.set_text(" · ".join(filter(None, about)))
        self._doing.set_text("" if news.error else row.activity_label)
        self._doing.set_visibility(bool(row.activity_label) and not news.error)
        self._bar.set_value(row.share)
        self._progress.set_text(" · ".join(filter(None, (row.progress, row.loss))))
        self._actions.show(row)
        self._failure.set_visibility(bool(news.error))
        self._error.set_text(news.error)
        self._lines.set_text("\n".join(news.last_lines))
        self._curves.show(news.curves)
