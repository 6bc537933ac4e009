"""Warnings of a plan, shown before the job is submitted."""

from collections.abc import Iterator, Sequence

from api.schemas.plans import JobPlan, PlanWarning, WarningCode
from api.services.refusals import needs_of
from flant5_train.config import Hyperparameters
from flant5_train.protocol.forecast import Forecast
from flant5_train.protocol.run_warnings import (
    CutPairs,
    RunWarning,
    cut_warnings,
    learning_rate_warning,
    steps_warning,
    validation_warning,
)
from worker.jobs.store.workers import WorkerState

_GIB = 2**30


def warnings_of(
    plan: JobPlan,
    *,
    submitted: Hyperparameters,
    forecast: Forecast,
    workers: Sequence[WorkerState],
) -> tuple[PlanWarning, ...]:
    """Returns the warnings of a plan, errors first. `submitted` are the hyperparameters before
    automatic values replace them."""
    found = [
        *_of_data(plan, forecast.obstacle),
        *_of_cuts(plan),
        *_of_room(plan),
        *_of_workers(submitted, workers),
        *_of_gpus(submitted, workers),
        *_of_bf16(forecast.slow_bf16),
        *_of_time(plan),
        *_of_settings(plan, submitted),
    ]
    return tuple(sorted(found, key=lambda warning: warning.level != "error"))


def _of_data(plan: JobPlan, obstacle: str | None) -> Iterator[PlanWarning]:
    data = plan.data.training
    if obstacle is not None:
        param = "validation_file" if obstacle.startswith("validation_file") else "training_file"
        described = plan.data.validation if param == "validation_file" else data
        first = f"; {described.problems[0]}" if described and described.problems else ""
        yield _error("bad_data", f"{obstacle}{first}", param)
    if data.repeats:
        yield _warning(
            "repeats",
            f"{data.repeats} conversations are exact duplicates of earlier ones",
            "training_file",
        )
    if obstacle is None:
        yield from _told(validation_warning(has_validation=plan.data.validation is not None))


def _of_cuts(plan: JobPlan) -> Iterator[PlanWarning]:
    data, limits = plan.data.training, plan.spec.hyperparameters
    cut = CutPairs(
        pairs=data.pairs,
        truncated_sources=data.truncated_sources,
        truncated_targets=data.truncated_targets,
        max_source_length=limits.max_source_length or limits.model_max_length,
        max_target_length=limits.max_target_length or limits.model_max_length,
        longest_source=data.longest_source,
        longest_target=data.longest_target,
    )
    for warning in cut_warnings(cut):
        assert warning.param is not None, "it is a limit"
        yield _warning(warning.code, warning.message, _side(warning.param, limits))


def _of_room(plan: JobPlan) -> Iterator[PlanWarning]:
    memory, disk = plan.memory, plan.disk
    if memory is not None and memory.fits is False:
        assert memory.gpu_bytes is not None, "it was compared with"
        advice = f"; {'; or '.join(memory.suggestions)}" if memory.suggestions else ""
        yield _warning(
            "memory",
            f"about {_size(memory.total_bytes)} of the {_size(memory.gpu_bytes)} of each GPU"
            f" (conservative estimate): it may not fit{advice}",
            None,
        )
    if disk is None or disk.fits:
        return
    free, first = disk.free_bytes, disk.checkpoint_bytes + disk.model_bytes
    if free < first:
        yield _error(
            "disk_full",
            f"{_size(free)} of disk are free, but the first checkpoint and the model alone need"
            f" {_size(first)}",
            None,
        )
    else:
        yield _warning(
            "disk_tight",
            f"{_size(free)} of disk are free, but {disk.num_checkpoints} checkpoints and the model"
            f" need {_size(disk.peak_bytes)}",
            "hyperparameters.save_total_limit",
        )


def _of_workers(settings: Hyperparameters, workers: Sequence[WorkerState]) -> Iterator[PlanWarning]:
    fitting = [worker for worker in workers if worker.num_slots >= settings.num_gpus]
    if len(fitting) >= settings.num_nodes:
        return
    is_one = settings.num_nodes == 1
    wanted = f"{settings.num_nodes} workers" if not is_one else "a worker"
    slots = f"{settings.num_gpus} GPU{'s' if settings.num_gpus > 1 else ''}"
    if not workers:
        found = "none is online"
    elif is_one:
        found = f"the largest has {max(worker.num_slots for worker in workers)}"
    else:
        found = f"{len(fitting)} of {len(workers)} have that many"
    yield _warning(
        "no_worker",
        f"the job needs {wanted} with {slots}, but {found}: it would wait",
        f"hyperparameters.{'num_gpus' if is_one else 'num_nodes'}",
    )


def _of_gpus(settings: Hyperparameters, workers: Sequence[WorkerState]) -> Iterator[PlanWarning]:
    able = [worker for worker in workers if worker.num_slots >= settings.num_gpus]
    without = [worker.name for worker in able if not worker.has_gpus]
    for need in needs_of(settings):
        if without:
            yield _warning(
                "no_gpu",
                f"{need.found}, which needs a GPU, but {len(without)} of the {len(able)} workers"
                f" that may run the job have none ({', '.join(without)}): it would fail there",
                f"hyperparameters.{need.param}",
            )


def _of_bf16(slow: str | None) -> Iterator[PlanWarning]:
    if slow is not None:
        yield _warning("slow_bf16", slow, "hyperparameters.bf16")


def _of_time(plan: JobPlan) -> Iterator[PlanWarning]:
    limit, seconds = plan.spec.max_run_seconds, plan.time.seconds
    if limit is not None and seconds is not None and limit < seconds:
        yield _warning(
            "timeout",
            f"the job would need about {seconds:.0f} s, but would be stopped after {limit} s",
            "max_run_seconds",
        )


def _of_settings(plan: JobPlan, submitted: Hyperparameters) -> Iterator[PlanWarning]:
    yield from _told(
        learning_rate_warning(
            submitted.learning_rate,
            finetuning_type=submitted.finetuning_type,
            optim=submitted.optim,
        )
    )
    if plan.batches is not None:
        steps = plan.batches
        yield from _told(steps_warning(steps.num_steps, pairs_per_step=steps.pairs_per_step))


def _told(warning: RunWarning | None) -> Iterator[PlanWarning]:
    """Yields a warning that the run also reports, with its field name in the request."""
    if warning is None:
        return
    is_tuned = warning.param in Hyperparameters.model_fields
    param = f"hyperparameters.{warning.param}" if is_tuned else warning.param
    yield _warning(warning.code, warning.message, param)


def _size(num_bytes: int) -> str:
    """
    >>> _size(3 * 2**20), _size(54_614_167_552)
    ('3.0 MiB', '50.9 GiB')
    """
    if num_bytes < _GIB:
        return f"{num_bytes / 2**20:.1f} MiB"
    return f"{num_bytes / _GIB:.1f} GiB"


def _side(name: str, limits: Hyperparameters) -> str:
    """Returns the field that limits this side."""
    given = name if getattr(limits, name) is not None else "model_max_length"
    return f"hyperparameters.{given}"


def _error(code: WarningCode, message: str, param: str | None) -> PlanWarning:
    return PlanWarning(level="error", code=code, message=message, param=param)


def _warning(code: WarningCode, message: str, param: str | None) -> PlanWarning:
    return PlanWarning(level="warning", code=code, message=message, param=param)
