"""How fast jobs of this service trained, from what they wrote of their steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from api.services import Services
from worker.jobs.curve import StepSpan, read_step_span
from worker.jobs.job import Job
from worker.jobs.life import Status
from worker.jobs.spec import JobSpec

_MAX_LOOKED_AT = 200
"""The newest jobs, among which comparable ones are looked for."""
_MAX_MEASURED = 5
_MAX_BATCH_RATIO = 2
_SPEED = (
    *("num_gpus", "num_nodes", "finetuning_type", "sharding", "optim", "batching"),
    *("bf16", "gradient_checkpointing", "torch_compile", "tokenization"),
)
"""Settings that have to be equal; the batch may be up to twice or half as large."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """The medians of some jobs."""

    num_jobs: int
    tokens_per_second: float
    flops_per_second: float
    other_seconds: float | None
    """Beside the steps; None when no job has succeeded."""


def measured(spec: JobSpec, services: Services) -> Throughput | None:
    """Of the newest jobs like `spec`; None when there is none."""
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
        # Of a job with several attempts the steps have gaps, and some were trained twice.
        if job.attempt == 1 and is_comparable(job.spec, spec):
            span = read_step_span(services.home.run_directory(job.id).progress)
            if span is not None:
                yield job, span
                num_left -= 1
        if not num_left:
            return


def is_comparable(one: JobSpec, other: JobSpec) -> bool:
    """Whether the two should train at about the same speed."""
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
