"""New job page at `/new`: data and its report, settings, plan, start button."""

import secrets
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from api.dashboard.file_choice import FileChoice
from api.dashboard.form_fields import FormField, Value
from api.dashboard.form_view import field_view
from api.dashboard.frame import frame, heading, replace_address
from api.dashboard.live import tried
from api.dashboard.new_job import COMMON, FIELDS, HYPERPARAMETERS, filled_in, start
from api.dashboard.plan_panel import Answer, PlanPanel
from api.dashboard.report_card import ReportCard
from api.dashboard.shown_elsewhere import ELSEWHERE
from api.dashboard.visitor import Visitor
from api.schemas.create import CreateJob
from api.schemas.plans import JobPlan
from api.schemas.reports import ReportQuery
from flant5_train.config import DEMO_MODEL
from worker.jobs.files import FILE_IDS

_ASIDE = ("validation_file", "seed", "priority", "max_run_seconds")


def new_job_page(request: Request) -> None:
    """Builds the page. Its address holds the values that were filled in."""
    with frame(request, "New job", here="/new"):
        _NewJob(Visitor.of(request), dict(request.query_params))


class _NewJob:
    def __init__(self, visitor: Visitor, query: dict[str, str]) -> None:
        self._visitor = visitor
        self._form_id = secrets.token_hex(16)
        self._values: dict[str, Value] = {
            name: FIELDS[name].read(text) for name, text in query.items() if name in FIELDS
        }
        self._values.setdefault("model", DEMO_MODEL)
        with ui.element("section").classes("card"):
            heading("1 · Data")
            FileChoice(visitor, str(self._values.get("training_file", "")), self._choose_file)
            self._report = ui.element("div")
            self._show_report()
        with ui.element("section").classes("card"):
            heading("2 · Model and settings")
            self._settings()
        with ui.element("section").classes("card"):
            heading("3 · Plan")
            PlanPanel(visitor, lambda: filled_in(self._values), self._planned)
            with ui.row().classes("spread"):
                self._start = ui.button("Start the job", icon="rocket_launch", on_click=self._go)
                self._start.props("unelevated no-caps")
                self._start.set_enabled(False)
                if not visitor.may_change:
                    ui.label("Your API key is read-only. It cannot start jobs.").classes("quiet")

    def _settings(self) -> None:
        with ui.element("div").classes("fields"):
            self._model_choice()
            for name in ("suffix", *COMMON):
                self._field(FIELDS[name])
        self._elsewhere(ui.element("div").classes("fields"))
        more = ui.expansion("All other settings", icon="tune").props("dense")
        others = (name for name in HYPERPARAMETERS if name not in COMMON)
        with more, ui.element("div").classes("fields"):
            for name in (*_ASIDE, *others):
                self._field(FIELDS[name])

    def _model_choice(self) -> None:
        owner, chosen = self._visitor.caller.limited_to, str(self._values["model"])
        field = FIELDS["model"]
        with ui.element("div").classes("field"):
            select = ui.select(
                [chosen],
                label="model",
                value=chosen,
                with_input=True,
                new_value_mode="add-unique",
                on_change=lambda event: self._changed(field, event.value or DEMO_MODEL),
            ).props('outlined dense aria-label="model"')
            ui.label(field.help).classes("quiet")

        async def load() -> None:
            models = await tried(lambda: self._visitor.services.models.list(owner=owner), done="")
            ids = [model.id for model in models or ()]
            value = str(self._values["model"])
            select.set_options(ids if value in ids else [value, *ids], value=value)

        ui.timer(0, load, once=True)

    def _elsewhere(self, place: ui.element) -> None:
        """Adds fields for the integrations that the operator has configured."""
        offers, owner = self._visitor.services.integrations, self._visitor.caller.owner
        place.set_visibility(False)

        async def load() -> None:
            types = await tried(lambda: offers.types_for(owner), done="") or ()
            place.set_visibility(bool(types))
            with place:
                for kind, field in ELSEWHERE.items():
                    if kind in types:
                        self._field(field)

        ui.timer(0, load, once=True)

    def _field(self, field: FormField) -> None:
        field_view(field, self._values.get(field.name, field.default), self._changed)

    def _changed(self, field: FormField, value: Value) -> None:
        self._values = {name: old for name, old in self._values.items() if name != field.name}
        if value != field.default and value not in ("", None):
            self._values[field.name] = value
        texts = {name: FormField.written(each) for name, each in self._values.items()}
        replace_address(f"/new?{urlencode(texts)}")

    def _choose_file(self, reference: str) -> None:
        self._changed(FIELDS["training_file"], reference)
        self._show_report()

    def _show_report(self) -> None:
        self._report.clear()
        reference = str(self._values.get("training_file", ""))
        if FILE_IDS.matches(reference):
            with self._report:
                ReportCard(self._visitor, reference, ReportQuery())

    def _planned(self, answer: Answer) -> None:
        asked, plan = answer
        self._start.set_enabled(isinstance(asked, CreateJob) and self._visitor.may_change)
        is_doubtful = isinstance(plan, str) or (isinstance(plan, JobPlan) and not plan.is_feasible)
        self._start.set_text("Start anyway" if is_doubtful else "Start the job")

    async def _go(self) -> None:
        request = filled_in(self._values)
        if not isinstance(request, CreateJob):
            ui.notify(request or "Choose a file first.", type="negative")
            return
        self._start.set_enabled(False)
        job = await tried(lambda: start(self._visitor, request, form_id=self._form_id), done="")
        if job is None:
            self._form_id = secrets.token_hex(16)
            self._start.set_enabled(True)
            return
        ui.navigate.to(f"/jobs/{job.id}")
