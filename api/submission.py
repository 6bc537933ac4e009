"""From a create request to a job: translated, checked, and made once."""

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from pydantic import ValidationError

from api.caller import Caller
from api.hyperparameters import hyperparameters_of
from api.refusals import (
    refuse_model,
    refuse_without_effect,
    refuse_without_gpu,
    refuse_without_validation,
)
from api.schemas.create import CreateJob
from api.services import Services
from api.validation import explain
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import Job
from worker.jobs.spec import JobSpec

Found = TypeVar("Found", covariant=True)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a create request comes from, as far as telling repetitions apart needs it."""

    caller: Caller
    authorization: str
    """The header, or '': on a server without keys it tells callers apart."""
    idempotency_key: str | None
    is_retry: bool
    """The client says that it sent this before."""
    arrived_at: float
    """When the server began to receive it, in Unix seconds."""


def submit(request: CreateJob, *, origin: Origin, services: Services) -> Job:
    """The job of this submission, which is on disk: a new one, or the one that an earlier try of
    it made.

    Raises InvalidRequestError when the spec can't be carried out, LimitReachedError, and what
    `Recorder` does.
    """
    spec = spec_of(request)
    check_references(spec, caller=origin.caller, services=services)
    job = _recorded(spec, origin=origin, services=services)
    if origin.idempotency_key is not None and job.spec != spec:
        raise InvalidRequestError(
            f"Idempotency-Key {origin.idempotency_key!r} was used for job {job.id}, which has "
            "another content; a new submission needs a new key",
            param="Idempotency-Key",
        )
    return job


def _recorded(spec: JobSpec, *, origin: Origin, services: Services) -> Job:
    key = _submission_key(spec, origin, services)
    # A file may have been deleted before the job was there to keep it.
    confirm = partial(check_references, spec, caller=origin.caller, services=services)
    while True:
        made = services.store.submit(spec, owner=origin.caller.owner, submission_key=key)
        if job := services.recorder.record_new(made, confirm=confirm):
            return job
        # An earlier try gave its job up, because it could not be recorded. All tries that come
        # after it get to the same next job, because the next key follows from that one.
        key = _digest("after", key, made)


def spec_of(request: CreateJob) -> JobSpec:
    """The job spec that a request stands for. Raises InvalidRequestError."""
    fields = request.model_dump(exclude={"method", "hyperparameters"}, exclude_none=True)
    hyperparameters = hyperparameters_of(request)
    try:
        spec = JobSpec(**fields, hyperparameters=hyperparameters)
    except ValidationError as error:
        message, param = explain(error)
        raise InvalidRequestError(message, param=param) from error
    refuse_without_validation(spec)
    refuse_without_effect(spec)
    return spec


def check_references(spec: JobSpec, *, caller: Caller, services: Services) -> None:
    """Raises InvalidRequestError for a file, model or integration that is not there, or not for
    the caller, and for what a worker would refuse at once."""
    _check("training_file", spec.training_file, services.files.resolve, caller)
    if spec.validation_file is not None:
        _check("validation_file", spec.validation_file, services.files.resolve, caller)
    refuse_model(spec, _check("model", spec.model, services.models.resolve, caller))
    refuse_without_gpu(spec.hyperparameters, services.workers)
    services.integrations.check(spec.integrations, owner=caller.owner)


class _Resolve(Protocol[Found]):
    def __call__(self, reference: str, /, *, owner: str | None) -> Found: ...


def _check(param: str, reference: str, resolve: _Resolve[Found], caller: Caller) -> Found:
    """What a request names and isn't there is a bad request, not a page that was not found."""
    try:
        return resolve(reference, owner=caller.limited_to)
    except (NotFoundError, InvalidRequestError) as error:
        raise InvalidRequestError(f"{param}: {error}", param=param) from error


def _submission_key(spec: JobSpec, origin: Origin, services: Services) -> str:
    if origin.idempotency_key is not None:
        return _digest("key", origin.authorization, origin.idempotency_key)
    return services.submissions.token(
        _digest("spec", origin.authorization, spec.model_dump_json()),
        arrived_at=origin.arrived_at,
        is_retry=origin.is_retry,
    )


def _digest(*parts: str) -> str:
    """Of the parts with their lengths, so that no two lists of parts meet."""
    framed = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(framed.encode()).hexdigest()
