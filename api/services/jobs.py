"""Job submission: converts a create request, checks it, and creates the job exactly once."""

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from pydantic import ValidationError

from api.caller import Caller
from api.dependencies import Services
from api.http.validation import explain
from api.hyperparameters import hyperparameters_of
from api.schemas.create import CreateJob
from api.services.refusals import (
    refuse_model,
    refuse_without_effect,
    refuse_without_gpu,
    refuse_without_validation,
)
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import Job
from worker.jobs.spec import JobSpec

Found = TypeVar("Found", covariant=True)


@dataclass(frozen=True, slots=True)
class Origin:
    """Source of a create request. Used to detect repeated submissions."""

    caller: Caller
    authorization: str
    """The Authorization header, or ''. On a server without keys it distinguishes callers."""
    idempotency_key: str | None
    is_retry: bool
    """The client reports that it sent this request before."""
    arrived_at: float
    """Start of the request, in Unix seconds."""


def submit(request: CreateJob, *, origin: Origin, services: Services) -> Job:
    """Returns the submitted job, which is on disk. It is new, or was created by an earlier try.

    Raises InvalidRequestError for an invalid spec, LimitReachedError, and the errors of `Recorder`.
    """
    spec = spec_of(request)
    check_references(spec, caller=origin.caller, services=services)
    job = _recorded(spec, origin=origin, services=services)
    if origin.idempotency_key is not None and job.spec != spec:
        raise InvalidRequestError(
            f"Idempotency-Key {origin.idempotency_key!r} was already used for job {job.id} with "
            "different content; use a new key for a new submission",
            param="Idempotency-Key",
        )
    return job


def _recorded(spec: JobSpec, *, origin: Origin, services: Services) -> Job:
    key = _submission_key(spec, origin, services)
    # A file may have been deleted before the job existed and could protect it.
    confirm = partial(check_references, spec, caller=origin.caller, services=services)
    while True:
        made = services.store.submit(spec, owner=origin.caller.owner, submission_key=key)
        if job := services.recorder.record_new(made, confirm=confirm):
            return job
        # An earlier try cancelled its job because it could not be recorded. The next key is
        # derived from this one, so all later tries find the same next job.
        key = _digest("after", key, made)


def spec_of(request: CreateJob) -> JobSpec:
    """Returns the job spec of a request. Raises InvalidRequestError."""
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
    """Checks the files, model and integrations that a spec names.

    Raises InvalidRequestError if one is missing or not available to the caller. Also raises it for
    settings that a worker would reject at once.
    """
    _check("training_file", spec.training_file, services.files.resolve, caller)
    if spec.validation_file is not None:
        _check("validation_file", spec.validation_file, services.files.resolve, caller)
    refuse_model(spec, _check("model", spec.model, services.models.resolve, caller))
    refuse_without_gpu(spec.hyperparameters, services.workers)
    services.integrations.check(spec.integrations, owner=caller.owner)


class _Resolve(Protocol[Found]):
    def __call__(self, reference: str, /, *, owner: str | None) -> Found: ...


def _check(param: str, reference: str, resolve: _Resolve[Found], caller: Caller) -> Found:
    """Resolves a reference. A missing object in a request body is a 400, not a 404."""
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
    """Hashes the parts with their lengths, so that different lists never collide."""
    framed = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(framed.encode()).hexdigest()
