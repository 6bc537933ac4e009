"""Plan panel: estimates the job in the form before it is started."""

from collections.abc import Callable

from nicegui import ui

from api.dashboard.data_files.widgets import figure_row
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.format import duration, number, size
from api.dashboard.ui.layout import Poller
from api.http.errors import TooManyReportsError
from api.schemas.jobs import CreateJob
from api.schemas.plans import JobPlan, PlanQuery
from api.services.planning import plan_of
from worker.jobs.errors import InvalidRequestError

Asked = CreateJob | str | None
"""The request to plan, an error in the form, or None if no file is chosen."""
Answer = tuple[Asked, JobPlan | str | None]


class PlanPanel:
    """Requests a plan whenever the form changes, and polls until it is ready.

    `asked` returns the content of the form. `on_plan` receives it together with the plan.
    """

    def __init__(
        self, user: SessionUser, asked: Callable[[], Asked], on_plan: Callable[[Answer], None]
    ) -> None:
        self._user = user
        self._asked = asked
        self._on_plan = on_plan
        self._shown: Answer | None = None
        self._box = ui.element("div").classes("plan")
        Poller(self._read, self._show, seconds=1.0)

    def _read(self) -> Answer:
        asked = self._asked()
        if self._shown is not None and self._shown[0] == asked and self._shown[1] is not None:
            return self._shown
        if not isinstance(asked, CreateJob):
            return asked, asked
        query, user = PlanQuery(wait_seconds=0), self._user
        try:
            plan = plan_of(asked, query, caller=user.caller, services=user.services)
        except InvalidRequestError as error:
            return asked, str(error)
        except TooManyReportsError:
            return asked, None  # retried at the next poll
        return asked, plan

    def _show(self, answer: Answer) -> None:
        if answer == self._shown:
            return
        self._shown = answer
        self._box.clear()
        self._on_plan(answer)
        asked, result = answer
        with self._box:
            if asked is None:
                ui.label("Choose a file first.").classes("quiet")
            elif result is None:
                with ui.row().classes("spread"):
                    ui.spinner()
                    ui.label("Estimating the job …").classes("quiet")
            elif isinstance(result, str):
                with ui.row().classes("verdict bad"):
                    ui.icon("error")
                    ui.label(result).classes("wrap")
            else:
                _plan(result)


def _plan(plan: JobPlan) -> None:
    batches, disk, time, memory = plan.batches, plan.disk, plan.time, plan.memory
    figures = {"Pairs": number(plan.data.training.pairs)}
    if batches is not None:
        figures["Steps"] = number(batches.num_steps)
        figures["Epochs"] = number(batches.num_epochs)
        fill = f"{batches.source_fill:.0%} / {batches.target_fill:.0%}"
        figures["Batch fill (input / target)"] = fill
    figures["Time"] = "unknown" if time.seconds is None else f"about {duration(time.seconds)}"
    if disk is not None:
        figures["Disk"] = f"{size(disk.peak_bytes)} of {size(disk.free_bytes)} free"
    if memory is not None:
        figures["GPU memory"] = _memory(memory.total_bytes, memory.gpu_bytes)
    figure_row(figures)
    for reason in (plan.auto, time.reason, plan.model_note, memory.reason if memory else None):
        if reason:
            ui.label(reason).classes("quiet")
    for warning in plan.warnings:
        with ui.row().classes("verdict " + ("bad" if warning.level == "error" else "warn")):
            ui.icon("error" if warning.level == "error" else "warning")
            ui.label(warning.message).classes("wrap")


def _memory(total: int | None, gpu: int | None) -> str:
    if total is None:
        return "unknown"
    return size(total) if gpu is None else f"{size(total)} of {size(gpu)}"
