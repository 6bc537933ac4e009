"""Job plans: checks a create request as a create does, but creates nothing."""

from api.caller import Caller
from api.dependencies import Services
from api.gpu_choice import Gpu, gpu_for
from api.hyperparameters import echo
from api.report_process import ReportPrograms, plan_argv
from api.schemas.create import CreateJob
from api.schemas.jobs import EchoedHyperparameters
from api.schemas.plans import (
    JobPlan,
    PlannedDisk,
    PlannedMemory,
    PlannedSpec,
    PlannedTime,
    PlanQuery,
)
from api.services.jobs import check_references, spec_of
from api.services.plan_warnings import warnings_of
from api.throughput import measured
from flant5_train.protocol.failure import Failure
from flant5_train.protocol.forecast import Forecast, Question
from flant5_train.protocol.host import free_bytes
from worker.jobs.errors import InvalidRequestError
from worker.jobs.spec import JobSpec

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
    gpu = gpu_for(spec.hyperparameters, workers, stated_gib=query.gpu_memory_gib)
    is_on_cpu = gpu is None and bool(workers) and not any(each.has_gpus for each in workers)
    question = _question(spec, gpu, services, is_on_cpu=is_on_cpu)
    asked = question.model_dump_json()
    forecast = services.programs.ask(
        asked, lambda programs: _forecast(question, programs), wait_seconds=query.wait_seconds
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
    return echo(spec.hyperparameters.model_copy(update=values))


def _question(spec: JobSpec, gpu: Gpu | None, services: Services, *, is_on_cpu: bool) -> Question:
    validation = spec.validation_file
    return Question(
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


def _forecast(question: Question, programs: ReportPrograms) -> Forecast:
    ended = programs.run(plan_argv(question), good_codes=(_TOLD, _UNREADABLE))
    if ended.code == _UNREADABLE:
        raise InvalidRequestError(Failure.model_validate_json(ended.out).message)
    return Forecast.model_validate_json(ended.out)


def _memory(forecast: Forecast, gpu: Gpu | None) -> PlannedMemory | None:
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
