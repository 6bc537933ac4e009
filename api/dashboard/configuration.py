"""Configuration card of a job: submitted values, then the defaults in an expansion."""

import json

from nicegui import ui

from api.dashboard.new_job.integrations import described
from api.dashboard.ui.layout import heading
from flant5_train.config import Hyperparameters
from worker.jobs.job import Job

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
