"""What to look at in a plan before the job is submitted."""

from collections.abc import Iterator, Sequence

from api.schemas.plans import JobPlan, PlanWarning, WarningCode
from flant5_train.config import Hyperparameters
from worker.jobs.workers import WorkerState

_GIB = 2**30
_MANY = 0.05
"""Share of the questions cut that is worth a word; each answer cut is one."""
_FEW_STEPS = 10
_RATES = {
    # Below, the weights hardly move; above, runs were seen to explode.
    "full": (1e-6, 1e-3),
    "lora": (1e-5, 5e-3),
    "qlora": (1e-5, 5e-3),
}
_ADAFACTOR_RATES = (1e-5, 1e-2)


def warnings_of(
    plan: JobPlan, *, obstacle: str | None, workers: Sequence[WorkerState]
) -> tuple[PlanWarning, ...]:
    """Those of a plan, errors first; `obstacle` is why it would fail on its data."""
    found = [
        *_of_data(plan, obstacle),
        *_of_cuts(plan),
        *_of_room(plan),
        *_of_workers(plan.spec.hyperparameters, workers),
        *_of_time(plan),
        *_of_settings(plan),
    ]
    return tuple(sorted(found, key=lambda warning: warning.level != "error"))


def _of_data(plan: JobPlan, obstacle: str | None) -> Iterator[PlanWarning]:
    data = plan.data.training
    if obstacle is not None:
        param = "validation_file" if obstacle.startswith("validation_file") else "training_file"
        told = plan.data.validation if param == "validation_file" else data
        first = f"; {told.problems[0]}" if told and told.problems else ""
        yield _error("bad_data", f"{obstacle}{first}", param)
    if data.repeats:
        yield _warning(
            "repeats",
            f"{data.repeats} conversations are word for word an earlier one",
            "training_file",
        )
    if plan.data.validation is None and obstacle is None:
        yield _warning(
            "no_validation",
            "nothing is held back for evaluation, so nobody will see whether the model learns or"
            " memorizes; set validation_split or a validation_file",
            "validation_file",
        )


def _of_cuts(plan: JobPlan) -> Iterator[PlanWarning]:
    data, limits = plan.data.training, plan.spec.hyperparameters
    if data.truncated_targets:
        longest = limits.max_target_length or limits.model_max_length
        yield _warning(
            "answers_cut",
            f"{data.truncated_targets} of {data.pairs} answers are longer than {longest} tokens and"
            f" lose their end, {data.target_tokens_lost} tokens in all; the longest has"
            f" {data.longest_target}",
            _side("max_target_length", limits),
        )
    if data.truncated_sources > _MANY * data.pairs:
        longest = limits.max_source_length or limits.model_max_length
        yield _warning(
            "questions_cut",
            f"{data.truncated_sources} of {data.pairs} questions are longer than {longest} tokens"
            f" and lose their oldest turns; the longest has {data.longest_source}",
            _side("max_source_length", limits),
        )


def _of_room(plan: JobPlan) -> Iterator[PlanWarning]:
    memory, disk = plan.memory, plan.disk
    if memory is not None and memory.fits is False:
        assert memory.gpu_bytes is not None, "it was compared with"
        advice = f"; {'; or '.join(memory.suggestions)}" if memory.suggestions else ""
        yield _warning(
            "memory",
            f"about {_size(memory.total_bytes)} of the {_size(memory.gpu_bytes)} of each GPU by"
            f" an estimate that errs on the large side: it may not fit{advice}",
            None,
        )
    if disk is None or disk.fits:
        return
    free, first = disk.free_bytes, disk.checkpoint_bytes + disk.model_bytes
    if free < first:
        yield _error(
            "disk_full",
            f"{_size(free)} are free, and the first checkpoint and the model alone take"
            f" {_size(first)}",
            None,
        )
    else:
        yield _warning(
            "disk_tight",
            f"{_size(free)} are free, and {disk.num_checkpoints} checkpoints and the model take"
            f" {_size(disk.peak_bytes)}",
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
        found = "none is here"
    elif is_one:
        found = f"the largest here has {max(worker.num_slots for worker in workers)}"
    else:
        found = f"{len(fitting)} of {len(workers)} have as many"
    yield _warning(
        "no_worker",
        f"the job needs {wanted} with {slots}, and {found}: it would wait",
        f"hyperparameters.{'num_gpus' if is_one else 'num_nodes'}",
    )


def _of_time(plan: JobPlan) -> Iterator[PlanWarning]:
    limit, seconds = plan.spec.max_run_seconds, plan.time.seconds
    if limit is not None and seconds is not None and limit < seconds:
        yield _warning(
            "timeout",
            f"it would run about {seconds:.0f} s, and be stopped after {limit} s",
            "max_run_seconds",
        )


def _of_settings(plan: JobPlan) -> Iterator[PlanWarning]:
    settings = plan.spec.hyperparameters
    low, high = _RATES[settings.finetuning_type]
    if settings.optim == "adafactor":
        low, high = _ADAFACTOR_RATES
    if not low <= settings.learning_rate <= high:
        side = "low" if settings.learning_rate < low else "high"
        yield _warning(
            "learning_rate",
            f"learning_rate {settings.learning_rate:g} is unusually {side} for finetuning_type"
            f" {settings.finetuning_type} with {settings.optim}; usual is {low:g} to {high:g}",
            "hyperparameters.learning_rate",
        )
    if plan.batches is not None and plan.batches.num_steps < _FEW_STEPS:
        yield _warning(
            "few_steps",
            f"the run has {plan.batches.num_steps} optimizer steps, of"
            f" {plan.batches.pairs_per_step:.1f} pairs each; a smaller batch or more epochs give"
            " more",
            None,
        )


def _size(num_bytes: int) -> str:
    """
    >>> _size(3 * 2**20), _size(54_614_167_552)
    ('3.0 MiB', '50.9 GiB')
    """
    if num_bytes < _GIB:
        return f"{num_bytes / 2**20:.1f} MiB"
    return f"{num_bytes / _GIB:.1f} GiB"


def _side(name: str, limits: Hyperparameters) -> str:
    """The field that limits a side."""
    given = name if getattr(limits, name) is not None else "model_max_length"
    return f"hyperparameters.{given}"


def _error(code: WarningCode, message: str, param: str | None) -> PlanWarning:
    return PlanWarning(level="error", code=code, message=message, param=param)


def _warning(code: WarningCode, message: str, param: str | None) -> PlanWarning:
    return PlanWarning(level="warning", code=code, message=message, param=param)
