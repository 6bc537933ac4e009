"""Curves of several jobs in one chart, at `/compare?jobs=...`."""

from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from api.dashboard.curve_chart import COLORS, Changes, CurveChart, Line
from api.dashboard.desk import Desk
from api.dashboard.frame import empty, frame, heading
from api.dashboard.job_list import recent_jobs
from api.dashboard.job_row import name_of
from api.dashboard.live import Fresh, tried
from api.dashboard.live_curve import SMOOTHED
from api.dashboard.visitor import Visitor
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job

MAX_JOBS = len(COLORS)
_MAX_LISTED = 200
_COLUMNS = {
    SMOOTHED: "Loss, smoothed",
    "loss": "Loss of each step",
    "eval_loss": "Validation loss",
    "learning_rate": "Learning rate",
    "grad_norm": "Gradient norm",
    "tokens_per_second": "Tokens per second",
    "gpu_memory_bytes": "GPU memory (GB)",
}

_UNITS = {"gpu_memory_bytes": 1e9}


def compare_page(request: Request, desk: Desk) -> None:
    """Builds the page; which jobs are compared stands in its address."""
    query = request.query_params
    ids = [each for each in query.get("jobs", "").split(",") if each][:MAX_JOBS]
    column = query.get("of", SMOOTHED)
    with frame(request, "Compare", here="/compare"):
        _Compare(Visitor.of(request), desk, ids, column if column in _COLUMNS else SMOOTHED)


class _Compare:
    def __init__(self, visitor: Visitor, desk: Desk, ids: list[str], column: str) -> None:
        self._visitor = visitor
        self._desk = desk
        self._ids = ids
        self._column = column
        self._fresh: Fresh[Changes] | None = None
        self._names: dict[str, str] = {}
        with ui.element("section").classes("card"):
            heading("Compare jobs")
            with ui.row().classes("filters"):
                self._choice = ui.select(
                    dict.fromkeys(ids, "…"),
                    label=f"Jobs, up to {MAX_JOBS}",
                    value=ids,
                    multiple=True,
                    with_input=True,
                    on_change=lambda event: self._choose(ids=list(event.value or ())),
                )
                self._choice.props('outlined dense use-chips aria-label="Jobs"')
                self._choice.classes("jobs-choice")
                ui.select(
                    _COLUMNS,
                    value=column,
                    on_change=lambda event: self._choose(column=str(event.value)),
                ).props('outlined dense aria-label="Curve"').classes("curve-choice")
        self._place = ui.element("div")
        self._draw({})
        ui.timer(0, self._load, once=True)

    async def _load(self) -> None:
        jobs = await tried(self._jobs, done="") or ()
        names = {job.id: _name(job) for job in jobs}
        self._ids = [job_id for job_id in self._ids if job_id in names]
        self._choice.set_options(names, value=self._ids)
        self._names = names
        self._draw(names)

    def _jobs(self) -> tuple[Job, ...]:
        """The newest, and those that the address names."""
        recent = recent_jobs(self._visitor, limit=_MAX_LISTED)
        known = {job.id for job in recent}
        older = []
        for job_id in self._ids:
            try:
                older += [] if job_id in known else [self._visitor.job(job_id)]
            except NotFoundError:
                continue  # another's, or none: it is left out
        return (*recent, *older)

    def _choose(self, *, ids: list[str] | None = None, column: str | None = None) -> None:
        if ids is not None and len(ids) > MAX_JOBS:
            ui.notify(f"{MAX_JOBS} jobs at most.", type="warning")
            self._choice.set_value(ids[:MAX_JOBS])
            return
        self._ids = self._ids if ids is None else ids
        self._column = column or self._column
        query = urlencode({"jobs": ",".join(self._ids), "of": self._column}, safe=",")
        ui.navigate.history.replace(f"/compare?{query}")
        self._draw(self._names)

    def _draw(self, names: dict[str, str]) -> None:
        if self._fresh is not None:
            self._fresh.stop()
        self._place.clear()
        lines = [
            Line(
                job_id,
                names.get(job_id, "…"),
                self._column,
                COLORS[number],
                unit=_UNITS.get(self._column, 1.0),
            )
            for number, job_id in enumerate(self._ids)
        ]
        with self._place:
            if not lines:
                empty("stacked_line_chart", "Choose two or more jobs to see their curves in one.")
                return
            if names:
                chart = CurveChart(_COLUMNS[self._column], lines, height="min(60vh, 520px)")
                self._fresh = Fresh(lambda: self._changes(chart), chart.show)

    def _changes(self, chart: CurveChart) -> Changes:
        services = self._visitor.services
        paths = {
            job_id: services.home.run_directory(self._visitor.job(job_id).id).progress
            for job_id in self._ids
        }
        curves = {job_id: self._desk.curves.get(path) for job_id, path in paths.items()}
        return chart.changes({name: curve.column(self._column) for name, curve in curves.items()})


def _name(job: Job) -> str:
    named = f" · {job.id[-8:]}" if job.spec.suffix else ""
    return f"{name_of(job)} · {job.spec.model}{named}"
