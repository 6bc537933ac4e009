"""Training speed of past jobs of this service, measured from their step records."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from api.dependencies import Services
from worker.jobs.curve import StepSpan, read_step_span
from worker.jobs.job import Job
from worker.jobs.life import Status
from worker.jobs.spec import JobSpec

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
