"""Early checks: rejects jobs that a worker would reject at once, before anything is stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flant5_train.config import Hyperparameters, idle_without_validation, setting_without_effect
from flant5_train.protocol.failure import TrainingError
from flant5_train.protocol.model_files import refuse_unusable_model
from worker.jobs.errors import InvalidRequestError
from worker.jobs.job import JobSpec
from worker.jobs.store.workers import WorkerRegistry, WorkerState


@dataclass(frozen=True, slots=True)
class NeedsGpu:
    """Hyperparameter that a worker without a GPU rejects."""

    param: str
    found: str
    """The hyperparameter with its value."""
    instead: str
    """Alternative that runs on any worker."""


def needs_of(settings: Hyperparameters) -> Iterator[NeedsGpu]:
    """Yields the hyperparameters that need a GPU."""
    if settings.finetuning_type == "qlora":
        yield NeedsGpu("finetuning_type", "finetuning_type is qlora", "finetuning_type lora")
    if settings.torch_compile:
        yield NeedsGpu("torch_compile", "torch_compile is true", "torch_compile false")


def refuse_without_gpu(settings: Hyperparameters, workers: WorkerRegistry) -> None:
    """Raises InvalidRequestError if a job needs a GPU and no registered worker has one.

    If no worker is registered, the job may wait for one with a GPU. Raises StoreUnavailableError
    too.
    """
    for need in needs_of(settings):
        here = workers.all()
        if here and not any(worker.has_gpus for worker in here):
            raise InvalidRequestError(
                f"hyperparameters.{need.param}: {need.found}, which needs a GPU, but none of the"
                f" registered workers has one ({_named(here)}); expected {need.instead},"
                " or a worker with a GPU",
                param=f"hyperparameters.{need.param}",
            )


def refuse_model(spec: JobSpec, resolved: str) -> None:
    """Raises InvalidRequestError for a model directory that can't be trained from. Hub names pass,
    because their content is known only after the download."""
    directory = Path(resolved)
    if not directory.is_absolute():
        return
    try:
        refuse_unusable_model(directory, finetuning_type=spec.hyperparameters.finetuning_type)
    except TrainingError as error:
        # Callers know models by name, not by path.
        whole = spec.model.partition(":ckpt-step-")[0]
        message = str(error).replace(resolved, spec.model).replace(str(directory.parent), whole)
        raise InvalidRequestError(f"model: {message}", param="model") from error


def refuse_without_validation(spec: JobSpec) -> None:
    """Raises InvalidRequestError for settings that have no effect without validation pairs."""
    if spec.validation_file is not None or spec.hyperparameters.validation_split > 0:
        return
    if idle := idle_without_validation(spec.hyperparameters):
        name, message = idle
        param = f"hyperparameters.{name}"
        raise InvalidRequestError(f"hyperparameters.{message}", param=param)


def refuse_without_effect(spec: JobSpec) -> None:
    """Raises InvalidRequestError for settings that other settings make ineffective."""
    found = setting_without_effect(spec.hyperparameters)
    if spec.validation_file is not None and spec.hyperparameters.validation_split > 0:
        found = (
            "validation_split",
            (
                f"validation_split is {spec.hyperparameters.validation_split}, but there is a"
                " validation_file; expected only one of them"
            ),
        )
    if found is not None:
        name, message = found
        param = f"hyperparameters.{name}"
        raise InvalidRequestError(f"hyperparameters.{message}", param=param)


def _named(workers: Sequence[WorkerState]) -> str:
    return "; ".join(f"{worker.name}: {', '.join(worker.devices)}" for worker in workers)
