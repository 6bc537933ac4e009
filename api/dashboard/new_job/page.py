"""New job page at `/new`: data and its report, settings, plan, start button.

`prefill` converts the form into a create request, and `start` submits it.
"""

import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui
from pydantic import ValidationError

from api.dashboard.data_files.widgets import FileChoice, ReportCard
from api.dashboard.new_job.fields import FormField, Value, field_view, fields_of, request_of
from api.dashboard.new_job.integrations import INTEGRATION_FIELDS, integrations_of
from api.dashboard.new_job.plan import Answer, PlanPanel
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.layout import (
    heading,
    page_layout,
    record_audit_event,
    replace_address,
    run_with_error_toast,
)
from api.http.validation import format_validation_error
from api.schemas.jobs import CreateJob
from api.schemas.plans import JobPlan, ReportQuery
from api.services.jobs import Origin, submit
from flant5_train.config import DEMO_MODEL, Hyperparameters
from worker.jobs.job import Job, JobSpec
from worker.jobs.storage.files import FILE_IDS

HYPERPARAMETERS = {field.name: field for field in fields_of(Hyperparameters)}
OF_THE_JOB = {
    field.name: field for field in fields_of(JobSpec) if field.name in CreateJob.model_fields
}
FIELDS: Mapping[str, FormField] = {
    **OF_THE_JOB,
    **HYPERPARAMETERS,
    **{field.name: field for field in INTEGRATION_FIELDS.values()},
}

COMMON = (
    "num_train_epochs",
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "model_max_length",
    "validation_split",
    "finetuning_type",
    "bf16",
    "num_gpus",
)
"""Hyperparameters that are always visible; the others are in an expansion."""


def prefill(values: Mapping[str, Value]) -> CreateJob | str | None:
    """Returns the request, or a validation error, or None if no file is chosen."""
    if not values.get("training_file"):
        return None
    elsewhere = {field.name for field in INTEGRATION_FIELDS.values()}
    rest = {name: value for name, value in values.items() if name not in elsewhere}
    body = request_of(rest, hyperparameters=HYPERPARAMETERS)
    if integrations := integrations_of(values):
        body["integrations"] = integrations
    try:
        return CreateJob.model_validate(body)
    except ValidationError as error:
        return format_validation_error(error, model=CreateJob)[0]


def start(user: SessionUser, request: CreateJob, *, form_id: str) -> Job:
    """Creates the job. Submitting the same form twice, as by a double click, creates one job.

    Raises NotAllowedError, SessionEndedError, and the errors of `submit`.
    """
    caller = user.changing()
    origin = Origin(
        caller=caller,
        authorization=f"dashboard {caller.owner}",
        idempotency_key=form_id,
        is_retry=False,
        arrived_at=time.time(),
    )
    job = submit(request, origin=origin, services=user.services)
    record_audit_event("POST /v1/fine_tuning/jobs", job.id, caller=caller, services=user.services)
    return job


_ASIDE = ("validation_file", "seed", "priority", "max_run_seconds")


def new_job_page(request: Request) -> None:
    """Builds the page. Its address holds the values that were filled in."""
    with page_layout(request, "New job", here="/new"):
        _NewJob(SessionUser.of(request), dict(request.query_params))


class _NewJob:
    def __init__(self, user: SessionUser, query: dict[str, str]) -> None:
        self._user = user
        self._form_id = secrets.token_hex(16)
        self._values: dict[str, Value] = {
            name: FIELDS[name].parse(text) for name, text in query.items() if name in FIELDS
        }
        self._values.setdefault("model", DEMO_MODEL)
        with ui.element("section").classes("card"):
            heading("1 · Data")
            FileChoice(user, str(self._values.get("training_file", "")), self._choose_file)
            self._report = ui.element("div")
            self._show_report()
        with ui.element("section").classes("card"):
            heading("2 · Model and settings")
            self._settings()
        with ui.element("section").classes("card"):
            heading("3 · Plan")
            PlanPanel(user, lambda: prefill(self._values), self._planned)
            with ui.row().classes("spread"):
                self._start = ui.button("Start the job", icon="rocket_launch", on_click=self._go)
                self._start.props("unelevated no-caps")
                self._start.set_enabled(False)
                if not user.may_change:
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
        owner, chosen = self._user.caller.owner_filter, str(self._values["model"])
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
            models = await run_with_error_toast(
                lambda: self._user.services.models.list(owner=owner), done=""
            )
            ids = [model.id for model in models or ()]
            value = str(self._values["model"])
            select.set_options(ids if value in ids else [value, *ids], value=value)

        ui.timer(0, load, once=True)

    def _elsewhere(self, place: ui.element) -> None:
        """Adds fields for the integrations that the operator has configured."""
        offers, owner = self._user.services.integrations, self._user.caller.owner
        place.set_visibility(False)

        async def load() -> None:
            types = await run_with_error_toast(lambda: offers.allowed_for(owner), done="") or ()
            place.set_visibility(bool(types))
            with place:
                for kind, field in INTEGRATION_FIELDS.items():
                    if kind in types:
                        self._field(field)

        ui.timer(0, load, once=True)

    def _field(self, field: FormField) -> None:
        field_view(field, self._values.get(field.name, field.default), self._changed)

    def _changed(self, field: FormField, value: Value) -> None:
        self._values = {name: old for name, old in self._values.items() if name != field.name}
        if value != field.default and value not in ("", None):
            self._values[field.name] = value
        texts = {name: FormField.to_text(each) for name, each in self._values.items()}
        replace_address(f"/new?{urlencode(texts)}")

    def _choose_file(self, reference: str) -> None:
        self._changed(FIELDS["training_file"], reference)
        self._show_report()

    def _show_report(self) -> None:
        self._report.clear()
        reference = str(self._values.get("training_file", ""))
        if FILE_IDS.matches(reference):
            with self._report:
                ReportCard(self._user, reference, ReportQuery())

    def _planned(self, answer: Answer) -> None:
        asked, plan = answer
        self._start.set_enabled(isinstance(asked, CreateJob) and self._user.may_change)
        is_doubtful = isinstance(plan, str) or (isinstance(plan, JobPlan) and not plan.is_feasible)
        self._start.set_text("Start anyway" if is_doubtful else "Start the job")

    async def _go(self) -> None:
        request = prefill(self._values)
        if not isinstance(request, CreateJob):
            ui.notify(request or "Choose a file first.", type="negative")
            return
        self._start.set_enabled(False)
        job = await run_with_error_toast(
            lambda: start(self._user, request, form_id=self._form_id), done=""
        )
        if job is None:
            self._form_id = secrets.token_hex(16)
            self._start.set_enabled(True)
            return
        ui.navigate.to(f"/jobs/{job.id}")
