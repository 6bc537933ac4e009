"""Changes of jobs: submission, cancel, pause and resume.

A submission converts a create request, checks it, and creates the job exactly once. Requests use
the SDK's hyperparameters, jobs use flant5's. Cancel, pause and resume are applied in the store and
written to disk before acknowledgement.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, TypeVar

from pydantic import ValidationError

from api.auth import Caller
from api.dependencies import Services
from api.http.validation import format_validation_error
from api.schemas.jobs import CreateJob, EchoedHyperparameters, RequestedHyperparameters
from api.services.refusals import (
    refuse_model,
    refuse_without_effect,
    refuse_without_gpu,
    refuse_without_validation,
)
from flant5_train.config import Hyperparameters
from flant5_train.protocol.auto import LEARNING_RATE
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import Job, JobSpec, Status
from worker.jobs.store.store import JobStore

_OF_THE_SDK = {"n_epochs", "batch_size", "learning_rate_multiplier"}
_DEFAULTS = Hyperparameters()
_AUTO: Literal["auto"] = "auto"


def hyperparameters_of(request: CreateJob) -> Hyperparameters:
    """Returns the hyperparameters of the job. Raises InvalidRequestError if two fields
    contradict."""
    requested, place = _requested(request)
    given = requested.model_fields_set - _OF_THE_SDK
    values = requested.model_dump(include=given)
    if requested.n_epochs is not None:
        _refuse_second("n_epochs", values.get("num_train_epochs"), requested.n_epochs, place=place)
        values["num_train_epochs"] = requested.n_epochs
    if requested.learning_rate_multiplier is not None:
        rate = _rounded(LEARNING_RATE * requested.learning_rate_multiplier)
        _refuse_second("learning_rate_multiplier", values.get("learning_rate"), rate, place=place)
        values["learning_rate"] = rate
    if requested.batch_size is not None:
        values |= _shape_of_batch(requested, given=given, place=place)
    if requested.lr_scheduler_type == "constant":
        values.setdefault("warmup_ratio", 0.0)  # the default is meant for other schedules
    try:
        return Hyperparameters(**values)
    except ValidationError as error:
        message, param = format_validation_error(error, prefix=place)
        raise InvalidRequestError(message, param=param) from error


def to_response(hyperparameters: Hyperparameters) -> EchoedHyperparameters:
    """Returns all hyperparameters of a job by flant5's and the SDK's names. Values that the run
    will choose are null by flant5's names and "auto" by the SDK's.

    >>> shown = to_response(Hyperparameters(num_gpus=2, learning_rate=2e-5))
    >>> shown.n_epochs, shown.batch_size, shown.learning_rate_multiplier
    ('auto', 16, 0.2)
    """
    epochs, rate = hyperparameters.num_train_epochs, hyperparameters.learning_rate
    return EchoedHyperparameters(
        **hyperparameters.model_dump(),
        n_epochs=_AUTO if epochs is None else int(epochs) if epochs.is_integer() else epochs,
        batch_size=hyperparameters.per_device_train_batch_size
        * hyperparameters.gradient_accumulation_steps
        * hyperparameters.num_gpus
        * hyperparameters.num_nodes,
        learning_rate_multiplier=_AUTO if rate is None else _rounded(rate / LEARNING_RATE),
    )


def _requested(request: CreateJob) -> tuple[RequestedHyperparameters, str]:
    """Returns the hyperparameters of a request, and their dotted path in it."""
    supervised = request.method.supervised if request.method else None
    in_method = supervised.hyperparameters if supervised else None
    on_top = request.hyperparameters
    if in_method is not None and on_top is not None and in_method != on_top:
        raise InvalidRequestError(
            "hyperparameters: differs from method.supervised.hyperparameters; send only one",
            param="hyperparameters",
        )
    if in_method is not None:
        return in_method, "method.supervised.hyperparameters"
    return on_top or RequestedHyperparameters(), "hyperparameters"


def _shape_of_batch(
    requested: RequestedHyperparameters, *, given: set[str], place: str
) -> dict[str, int]:
    """Returns the pairs per forward pass and passes per step that give `batch_size` pairs per
    step."""
    batch_size = requested.batch_size or 0
    num_processes = requested.num_gpus * requested.num_nodes
    per_gpu = batch_size // num_processes
    num_passes = requested.gradient_accumulation_steps
    if "per_device_train_batch_size" in given:
        per_pass = requested.per_device_train_batch_size
    elif "gradient_accumulation_steps" in given:
        per_pass = per_gpu // num_passes
    else:
        per_pass = _largest_divisor(per_gpu, at_most=_DEFAULTS.per_device_train_batch_size)
    if "gradient_accumulation_steps" not in given:
        num_passes = per_gpu // per_pass
    if per_pass * num_passes * num_processes != batch_size:
        named = sorted(given & {"per_device_train_batch_size", "gradient_accumulation_steps"})
        named += ["num_gpus"] if requested.num_nodes == 1 else ["num_gpus", "num_nodes"]
        parts = ", ".join(f"{name} {getattr(requested, name)}" for name in named)
        raise InvalidRequestError(
            f"{place}.batch_size: {batch_size} is impossible with {parts}; it must equal "
            "per_device_train_batch_size x gradient_accumulation_steps x num_gpus x num_nodes",
            param=f"{place}.batch_size",
        )
    return {"per_device_train_batch_size": per_pass, "gradient_accumulation_steps": num_passes}


def _largest_divisor(number: int, *, at_most: int) -> int:
    """
    >>> [_largest_divisor(number, at_most=8) for number in (4, 24, 9, 13)]
    [4, 8, 3, 1]
    """
    return next(divisor for divisor in range(at_most, 0, -1) if number % divisor == 0)


def _refuse_second(name: str, ours: float | None, theirs: float, *, place: str) -> None:
    if ours is not None and ours != theirs:
        other = "num_train_epochs" if name == "n_epochs" else "learning_rate"
        raise InvalidRequestError(
            f"{place}.{name}: means {other} {theirs:g}, but {other} is {ours:g}; send only one",
            param=f"{place}.{name}",
        )


def _rounded(number: float) -> float:
    """Removes the extra digits of binary fractions.

    >>> _rounded(1e-4 * 3)
    0.0003
    """
    return float(f"{number:.12g}")


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
        message, param = format_validation_error(error)
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
        return resolve(reference, owner=caller.owner_filter)
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


@dataclass(frozen=True, slots=True)
class JobAction:
    """An action that a caller can request for a job."""

    apply: Callable[[JobStore, str], Job]
    is_applied: Callable[[Job], bool]
    """Returns True if the job is already in the requested state, or on its way there."""


def _is_cancelled(job: Job) -> bool:
    return job.is_cancelling or job.status is Status.CANCELLED


def _goes_on(job: Job) -> bool:
    is_under_way = job.status in (Status.VALIDATING_FILES, Status.QUEUED, Status.RUNNING)
    return is_under_way and not job.is_cancelling and not job.is_pausing


CANCEL = JobAction(lambda store, job_id: store.cancel(job_id), _is_cancelled)
CANCEL_WITH_CHECKPOINT = JobAction(
    lambda store, job_id: store.cancel(job_id, with_checkpoint=True), _is_cancelled
)
PAUSE = JobAction(
    lambda store, job_id: store.pause(job_id),
    lambda job: job.is_pausing or job.status is Status.PAUSED,
)
RESUME = JobAction(lambda store, job_id: store.resume(job_id), _goes_on)


def apply_action(action: JobAction, job_id: str, *, is_retry: bool, services: Services) -> Job:
    """Applies the action and returns the job. If the first try succeeded and only its response was
    lost, a retry gets the same response.

    Raises NotFoundError, InvalidRequestError if the job's state no longer allows the action, and
    the errors of `Recorder`.
    """
    try:
        action.apply(services.store, job_id)
    except InvalidRequestError:
        if not action.is_applied(services.store.get(job_id)):
            raise
        # The first try may have reached the store but not the disk.
        job = services.recorder.record(job_id)
        if is_retry:
            return job
        raise
    return services.recorder.record(job_id)
