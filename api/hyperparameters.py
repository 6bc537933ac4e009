"""Conversion between the SDK's hyperparameters and flant5's."""

from typing import Literal

from pydantic import ValidationError

from api.http.validation import explain
from api.schemas.create import CreateJob, RequestedHyperparameters
from api.schemas.jobs import EchoedHyperparameters
from flant5_train.config import Hyperparameters
from flant5_train.protocol.auto import LEARNING_RATE
from worker.jobs.errors import InvalidRequestError

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
        message, param = explain(error, prefix=place)
        raise InvalidRequestError(message, param=param) from error


def echo(hyperparameters: Hyperparameters) -> EchoedHyperparameters:
    """Returns all hyperparameters of a job by flant5's and the SDK's names. Values that the run
    will choose are null by flant5's names and "auto" by the SDK's.

    >>> shown = echo(Hyperparameters(num_gpus=2, learning_rate=2e-5))
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
