"""Converts a filled-in form into a create request and submits it."""

import time
from collections.abc import Mapping

from pydantic import ValidationError

from api.dashboard.form_fields import FormField, Value, fields_of, request_of
from api.dashboard.notes import note
from api.dashboard.shown_elsewhere import ELSEWHERE, integrations_of
from api.dashboard.visitor import Visitor
from api.schemas.create import CreateJob
from api.submission import Origin, submit
from api.validation import explain
from flant5_train.config import Hyperparameters
from worker.jobs.job import Job
from worker.jobs.spec import JobSpec

HYPERPARAMETERS = {field.name: field for field in fields_of(Hyperparameters)}
OF_THE_JOB = {
    field.name: field for field in fields_of(JobSpec) if field.name in CreateJob.model_fields
}
FIELDS: Mapping[str, FormField] = {
    **OF_THE_JOB,
    **HYPERPARAMETERS,
    **{field.name: field for field in ELSEWHERE.values()},
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


def filled_in(values: Mapping[str, Value]) -> CreateJob | str | None:
    """Returns the request, or a validation error, or None if no file is chosen."""
    if not values.get("training_file"):
        return None
    elsewhere = {field.name for field in ELSEWHERE.values()}
    rest = {name: value for name, value in values.items() if name not in elsewhere}
    body = request_of(rest, hyperparameters=HYPERPARAMETERS)
    if integrations := integrations_of(values):
        body["integrations"] = integrations
    try:
        return CreateJob.model_validate(body)
    except ValidationError as error:
        return explain(error, model=CreateJob)[0]


def start(visitor: Visitor, request: CreateJob, *, form_id: str) -> Job:
    """Creates the job. Submitting the same form twice, as by a double click, creates one job.

    Raises NotAllowedError, SessionEndedError, and the errors of `submit`.
    """
    caller = visitor.changing()
    origin = Origin(
        caller=caller,
        authorization=f"dashboard {caller.owner}",
        idempotency_key=form_id,
        is_retry=False,
        arrived_at=time.time(),
    )
    job = submit(request, origin=origin, services=visitor.services)
    note("POST /v1/fine_tuning/jobs", job.id, caller=caller, services=visitor.services)
    return job
