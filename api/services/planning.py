"""Job plans: checks a create request as a create does, but creates nothing.

`select_gpu` selects the GPU that a plan assumes. `measured` returns the training speed of past jobs
of this service, from their step records.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from api.auth import Caller
from api.dependencies import Services
from api.schemas.jobs import CreateJob, EchoedHyperparameters
from api.schemas.plans import (
    JobPlan,
    PlannedDisk,
    PlannedMemory,
    PlannedSpec,
    PlannedTime,
    PlanQuery,
)
from api.services.jobs import check_references, spec_of, to_response
from api.services.plan_warnings import warnings_of
from api.services.reports import ReportPrograms, plan_argv
from flant5_train.config import Hyperparameters
from flant5_train.protocol.failure import Failure
from flant5_train.protocol.forecast import Forecast, ForecastRequest
from flant5_train.protocol.host import free_bytes
from worker.jobs.errors import InvalidRequestError
from worker.jobs.job import Job, JobSpec, Status
from worker.jobs.storage.run_files import StepSpan, read_step_span
from worker.jobs.store.workers import WorkerState

STATED = "stated"
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class PlannedGpu:
    """Memory of one GPU, and the source of this figure."""

    num_bytes: int
    source: str
    """`stated`, or the name of a worker."""


def select_gpu(
    hyperparameters: Hyperparameters, workers: Sequence[WorkerState], *, stated_gib: float | None
) -> PlannedGpu | None:
    """Returns the stated GPU. Otherwise takes the workers with the largest GPUs that could train
    the job together, and returns the smallest GPU among them. None if no worker reports a GPU."""
    if stated_gib is not None:
        return PlannedGpu(int(stated_gib * _GIB), STATED)
    candidates = [
        PlannedGpu(worker.gpu_bytes, worker.name)
        for worker in workers
        if worker.gpu_bytes is not None and worker.num_slots >= hyperparameters.num_gpus
    ]
    candidates.sort(key=lambda gpu: (-gpu.num_bytes, gpu.source))
    return candidates[min(len(candidates), hyperparameters.num_nodes) - 1] if candidates else None


_MAX_LOOKED_AT = 200
"""Number of newest jobs searched for comparable ones."""
_MAX_MEASURED = 5
_MAX_BATCH_RATIO = 2
_SPEED = (
    *("num_gpus", "num_nodes", "finetuning_type", "sharding", "optim", "batching"),
    *("bf16", "gradient_checkpointing", "torch_compile", "tokenization"),
)
"""Settings that must be equal. The batch may be up to twice or half as large."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Medians over some jobs."""

    num_jobs: int
    tokens_per_second: float
    flops_per_second: float
    other_seconds: float | None
    """Time outside the steps. None if no job succeeded."""


def measured(spec: JobSpec, services: Services) -> Throughput | None:
    """Returns the throughput of the newest jobs comparable to `spec`. None if there are none."""
    found = [*_found(spec, services)]
    if not found:
        return None
    others = [
        job.run_seconds - span.seconds for job, span in found if job.status is Status.SUCCEEDED
    ]
    return Throughput(
        num_jobs=len(found),
        tokens_per_second=median(span.tokens_per_second for _, span in found),
        flops_per_second=median(span.flops_per_second for _, span in found),
        other_seconds=max(0.0, median(others)) if others else None,
    )


def _found(spec: JobSpec, services: Services) -> Iterator[tuple[Job, StepSpan]]:
    num_left = _MAX_MEASURED
    page = services.store.list(after=None, limit=_MAX_LOOKED_AT)
    for job in page.items:
        # With several attempts, the steps have gaps and some were trained twice.
        if job.attempt == 1 and is_comparable(job.spec, spec):
            span = read_step_span(services.home.run_directory(job.id).progress)
            if span is not None:
                yield job, span
                num_left -= 1
        if not num_left:
            return


def is_comparable(one: JobSpec, other: JobSpec) -> bool:
    """Returns True if the two jobs should train at about the same speed."""
    first, second = one.hyperparameters, other.hyperparameters
    sizes = [first.per_device_train_batch_size, second.per_device_train_batch_size]
    return (
        _base_of(one.model) == _base_of(other.model)
        and all(getattr(first, name) == getattr(second, name) for name in _SPEED)
        and max(sizes) <= _MAX_BATCH_RATIO * min(sizes)
    )


def _base_of(model: str) -> str:
    """
    >>> _base_of("ft:google/flan-t5-xl:flant5::a70edysf"), _base_of("google/flan-t5-xl")
    ('google/flan-t5-xl', 'google/flan-t5-xl')
    """
    return model.split(":")[1] if model.startswith("ft:") else model


_TOLD, _UNREADABLE = 0, 2


def plan_of(
    request: CreateJob, query: PlanQuery, *, caller: Caller, services: Services
) -> JobPlan | None:
    """Returns the plan, or None while a file is being read.

    Raises the errors of a create, and TooManyReportsError.
    """
    spec = spec_of(request)
    check_references(spec, caller=caller, services=services)
    workers = services.workers.all()
    gpu = select_gpu(spec.hyperparameters, workers, stated_gib=query.gpu_memory_gib)
    is_on_cpu = gpu is None and bool(workers) and not any(each.has_gpus for each in workers)
    forecast_request = _question(spec, gpu, services, is_on_cpu=is_on_cpu)
    asked = forecast_request.model_dump_json()
    forecast = services.programs.ask(
        asked,
        lambda programs: _forecast(forecast_request, programs),
        wait_seconds=query.wait_seconds,
    )
    if forecast is None:
        return None
    plan = JobPlan(
        is_feasible=True,
        spec=PlannedSpec(**{**dict(spec), "hyperparameters": _settled(spec, forecast)}),
        data=forecast.data,
        batches=forecast.batches,
        model=forecast.model,
        model_note=forecast.model_note,
        memory=_memory(forecast, gpu),
        disk=_disk(forecast, services),
        time=_time(forecast, spec, services),
        auto=forecast.chosen and forecast.chosen.message,
        warnings=(),
    )
    warnings = warnings_of(plan, submitted=spec.hyperparameters, forecast=forecast, workers=workers)
    is_feasible = all(warning.level != "error" for warning in warnings)
    return plan.model_copy(update={"warnings": warnings, "is_feasible": is_feasible})


def _settled(spec: JobSpec, forecast: Forecast) -> EchoedHyperparameters:
    """Returns the hyperparameters, including the values that the run will choose."""
    chosen = forecast.chosen
    values = chosen.model_dump(exclude={"message"}, exclude_none=True) if chosen else {}
    return to_response(spec.hyperparameters.model_copy(update=values))


def _question(
    spec: JobSpec, gpu: PlannedGpu | None, services: Services, *, is_on_cpu: bool
) -> ForecastRequest:
    validation = spec.validation_file
    return ForecastRequest(
        model=services.models.resolve(spec.model),
        training_file=services.files.resolve(spec.training_file),
        validation_file=None if validation is None else services.files.resolve(validation),
        models_directory=services.home.models,
        cache_directory=services.home.cache,
        seed=spec.seed,
        hyperparameters=spec.hyperparameters,
        gpu_bytes=None if gpu is None else gpu.num_bytes,
        is_on_cpu=is_on_cpu,
    )


def _forecast(forecast_request: ForecastRequest, programs: ReportPrograms) -> Forecast:
    ended = programs.run(plan_argv(forecast_request), good_codes=(_TOLD, _UNREADABLE))
    if ended.code == _UNREADABLE:
        raise InvalidRequestError(Failure.model_validate_json(ended.out).message)
    return Forecast.model_validate_json(ended.out)


def _memory(forecast: Forecast, gpu: PlannedGpu | None) -> PlannedMemory | None:
    if forecast.memory is None:
        return None
    reason = None
    if gpu is None:
        reason = "GPU memory is unknown: no suitable GPU worker is online; pass gpu_memory_gib"
    return PlannedMemory(
        **dict(forecast.memory), gpu_from=None if gpu is None else gpu.source, reason=reason
    )


def _disk(forecast: Forecast, services: Services) -> PlannedDisk | None:
    if forecast.disk is None:
        return None
    free = free_bytes(services.home.jobs)
    return PlannedDisk(
        **dict(forecast.disk), free_bytes=free, fits=forecast.disk.peak_bytes <= free
    )


def _time(forecast: Forecast, spec: JobSpec, services: Services) -> PlannedTime:
    found = measured(spec, services)
    flops = forecast.model.flops if forecast.model else None
    if found is None:
        reason = (
            f"no comparable job on {spec.model} was measured yet (at least three steps in one"
            " attempt)"
        )
        return _unknown_time(reason)
    if flops is None:
        return _unknown_time(forecast.obstacle or forecast.model_note or "the job has no steps")
    steps = flops / found.flops_per_second
    return PlannedTime(
        seconds=steps + (found.other_seconds or 0.0),
        steps_seconds=steps,
        other_seconds=found.other_seconds,
        tokens_per_second=found.tokens_per_second,
        tflops=found.flops_per_second / 1e12,
        num_measured_jobs=found.num_jobs,
        reason=None,
    )


def _unknown_time(reason: str) -> PlannedTime:
    return PlannedTime(
        seconds=None,
        steps_seconds=None,
        other_seconds=None,
        tokens_per_second=None,
        tflops=None,
        num_measured_jobs=0,
        reason=reason,
    )
