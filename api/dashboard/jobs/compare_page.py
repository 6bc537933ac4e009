"""Compare page at `/compare?jobs=...`: curves of several jobs in one chart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from api.dashboard.jobs.curves import COLORS, Changes, ChartLine, CurveChart
from api.dashboard.jobs.live_curve import SMOOTHED
from api.dashboard.jobs.rows import SharedPageCache, name_of, recent_jobs
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.layout import (
    Poller,
    empty,
    heading,
    page_layout,
    replace_address,
    run_with_error_toast,
)
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job

MAX_JOBS = len(COLORS)
_MAX_LISTED = 200
_COLUMNS = {
    SMOOTHED: "Loss (smoothed)",
    "loss": "Loss per step",
    "eval_loss": "Validation loss",
    "learning_rate": "Learning rate",
    "grad_norm": "Gradient norm",
    "tokens_per_second": "Tokens per second",
    "gpu_memory_bytes": "GPU memory (GB)",
}

_UNITS = {"gpu_memory_bytes": 1e9}
_STEPS = "steps"
_OVER = {_STEPS: "Over steps", "percent": "Over percent"}


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The comparison encoded in the address: jobs, column and x axis."""

    ids: tuple[str, ...]
    column: str
    over: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        ids = tuple(each for each in query.get("jobs", "").split(",") if each)[:MAX_JOBS]
        column, over = query.get("of", SMOOTHED), query.get("over", _STEPS)
        return cls(
            ids, column if column in _COLUMNS else SMOOTHED, over if over in _OVER else _STEPS
        )

    @property
    def address(self) -> str:
        query = {"jobs": ",".join(self.ids), "of": self.column, "over": self.over}
        return f"/compare?{urlencode(query, safe=',')}"


def compare_page(request: Request, page_cache: SharedPageCache) -> None:
    """Builds the page. Its address holds the compared jobs."""
    with page_layout(request, "Compare", here="/compare"):
        _Compare(SessionUser.of(request), page_cache, _Comparison.of(request.query_params))


class _Compare:
    def __init__(self, user: SessionUser, page_cache: SharedPageCache, shown: _Comparison) -> None:
        self._user = user
        self._page_cache = page_cache
        self._shown = shown
        self._poller: Poller[Changes] | None = None
        self._names: dict[str, str] = {}
        with ui.element("section").classes("card"):
            heading("Compare jobs")
            with ui.row().classes("filters"):
                self._choice = ui.select(
                    dict.fromkeys(shown.ids, "…"),
                    label=f"Jobs (up to {MAX_JOBS})",
                    value=list(shown.ids),
                    multiple=True,
                    with_input=True,
                    on_change=lambda event: self._choose_jobs(tuple(event.value or ())),
                )
                self._choice.props('outlined dense use-chips aria-label="Jobs"')
                self._choice.classes("jobs-choice")
                self._choices(
                    _COLUMNS, shown.column, lambda column: replace(self._shown, column=column)
                ).props('aria-label="Curve"')
                self._choices(
                    _OVER, shown.over, lambda over: replace(self._shown, over=over)
                ).props('aria-label="Over"')
        self._place = ui.element("div")
        self._draw()
        ui.timer(0, self._load, once=True)

    def _choices(
        self, choices: dict[str, str], value: str, change: Callable[[str], _Comparison]
    ) -> ui.select:
        return (
            ui.select(
                choices, value=value, on_change=lambda event: self._show(change(str(event.value)))
            )
            .props("outlined dense")
            .classes("curve-choice")
        )

    async def _load(self) -> None:
        jobs = await run_with_error_toast(self._jobs, done="") or ()
        self._names = {job.id: _name(job) for job in jobs}
        known = tuple(job_id for job_id in self._shown.ids if job_id in self._names)
        self._shown = replace(self._shown, ids=known)
        self._choice.set_options(self._names, value=list(known))
        self._draw()

    def _jobs(self) -> tuple[Job, ...]:
        """Returns the newest jobs, and the jobs in the address."""
        recent = recent_jobs(self._user, limit=_MAX_LISTED)
        known = {job.id for job in recent}
        older = []
        for job_id in self._shown.ids:
            try:
                older += [] if job_id in known else [self._user.job(job_id)]
            except NotFoundError:
                continue  # missing, or of another owner
        return (*recent, *older)

    def _choose_jobs(self, ids: tuple[str, ...]) -> None:
        if len(ids) > MAX_JOBS:
            ui.notify(f"At most {MAX_JOBS} jobs can be compared.", type="warning")
            self._choice.set_value(list(ids[:MAX_JOBS]))
            return
        self._show(replace(self._shown, ids=ids))

    def _show(self, shown: _Comparison) -> None:
        self._shown = shown
        replace_address(shown.address)
        self._draw()

    def _draw(self) -> None:
        if self._poller is not None:
            self._poller.stop()
        self._place.clear()
        shown, column = self._shown, self._shown.column
        unit = _UNITS.get(column, 1.0)
        lines = [
            ChartLine(job_id, self._names.get(job_id, "…"), column, color, unit=unit)
            for job_id, color in zip(shown.ids, COLORS, strict=False)
        ]
        with self._place:
            if not lines:
                empty("stacked_line_chart", "Choose two or more jobs to overlay their curves.")
                return
            if self._names:
                title, in_percent = _COLUMNS[column], shown.over != _STEPS
                chart = CurveChart(title, lines, height="min(60vh, 520px)", in_percent=in_percent)
                self._poller = Poller(lambda: self._changes(chart, shown), chart.show)

    def _changes(self, chart: CurveChart, shown: _Comparison) -> Changes:
        services = self._user.services
        jobs = [self._user.job(job_id) for job_id in shown.ids]
        paths = {job.id: services.home.run_directory(job.id).progress for job in jobs}
        curves = {job_id: self._page_cache.curves.get(path) for job_id, path in paths.items()}
        columns = {job_id: curve.column(shown.column) for job_id, curve in curves.items()}
        if shown.over == _STEPS:
            return chart.changes(columns)
        percents = {job_id: (curve.max_steps or 100) / 100 for job_id, curve in curves.items()}
        return chart.changes(columns, percents)


def _name(job: Job) -> str:
    named = f" · {job.id[-8:]}" if job.spec.suffix else ""
    return f"{name_of(job)} · {job.spec.model}{named}"
