"""Plans of jobs, as callers ask for them and see them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.jobs import EchoedHyperparameters
from api.schemas.reports import MAX_WAIT_SECONDS
from flant5_train.forecast.format import (
    BatchesForecast,
    DataForecast,
    DiskForecast,
    MemoryForecast,
    ModelForecast,
)
from worker.jobs.spec import JobSpec

_CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PlanQuery(BaseModel):
    """What is asked beside the job itself."""

    model_config = _CLOSED

    gpu_memory_gib: float | None = Field(None, gt=0, le=10_000, allow_inf_nan=False)
    """Memory of one GPU to plan for; unless given, that of the workers which could take the job."""
    wait_seconds: float = Field(10.0, ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)
    """Time to wait for a plan that is not there yet; it goes on being made afterwards."""


class PlannedSpec(JobSpec):
    """What the job would be, with every default filled in."""

    hyperparameters: EchoedHyperparameters
    """All of them."""


class PlannedMemory(MemoryForecast):
    """Bytes of one GPU, by an estimate that errs on the large side."""

    gpu_from: str | None
    """Where `gpu_bytes` is from: `stated`, or the name of a worker."""
    reason: str | None
    """Why `fits` is null."""


class PlannedDisk(DiskForecast):
    """Bytes on the disk of the service."""

    free_bytes: int
    """What is free now."""
    fits: bool
    """Whether `peak_bytes` are free now."""


class PlannedTime(BaseModel):
    """How long the job would run, from what jobs of this service were measured at: those with the
    same base model and the settings that speed depends on. Nothing else is put in their place."""

    model_config = _CLOSED

    seconds: float | None
    """Steps and the rest; null when no such job was measured."""
    steps_seconds: float | None
    """The floating-point operations of all steps at the measured rate, which includes evaluations
    and checkpoints of the measured jobs."""
    other_seconds: float | None
    """What the measured jobs took before and after their steps: reading, loading, compiling,
    saving. Null when none of them has succeeded, and not counted then."""
    tokens_per_second: float | None
    """Of the measured jobs, median."""
    tflops: float | None
    """10^12 floating-point operations of the model per second in those, median."""
    num_measured_jobs: int
    """How many were measured."""
    reason: str | None
    """Why `seconds` is null."""


WarningCode = Literal[
    "bad_data",
    "disk_full",
    "disk_tight",
    "memory",
    "no_worker",
    "no_gpu",
    "slow_bf16",
    "timeout",
    "answers_cut",
    "questions_cut",
    "repeats",
    "no_validation",
    "learning_rate",
    "few_steps",
]


class PlanWarning(BaseModel):
    """Something to look at before the job is submitted."""

    model_config = _CLOSED

    level: Literal["error", "warning"]
    """`error`: as things are now, the job would fail."""
    code: WarningCode
    """Its kind, for programs."""
    message: str
    """What was found, and what would help."""
    param: str | None
    """The field of the request that it is about."""


class JobPlan(BaseModel):
    """What a job would be. Nothing is started, and no job stored."""

    model_config = _CLOSED

    object: Literal["fine_tuning.job.plan"] = "fine_tuning.job.plan"
    status: Literal["completed"] = "completed"
    is_feasible: bool
    """False when a warning is an `error`."""
    spec: PlannedSpec
    """What would be submitted."""
    data: DataForecast
    """What the files hold."""
    batches: BatchesForecast | None
    """Null when the job would fail on its data; `warnings` says why."""
    model: ModelForecast | None
    """The base model; null when it is not known here."""
    model_note: str | None
    """Why the sizes of the base model are not known; memory, disk and time are null then."""
    memory: PlannedMemory | None
    """Of a GPU; null when the sizes of the model are not known."""
    disk: PlannedDisk | None
    """Of the service; null when the sizes of the model are not known."""
    time: PlannedTime
    """How long it would run."""
    auto: str | None
    """The hyperparameters that the request leaves to the run and what they follow from, such as
    `auto: 20 epochs, 200 steps, because ...`; `spec` has the values. Null when it gives all."""
    warnings: tuple[PlanWarning, ...]
    """What to look at first, errors before the rest."""


class PlanInProgress(BaseModel):
    """A big file is being read; ask again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    object: Literal["fine_tuning.job.plan"] = "fine_tuning.job.plan"
    status: Literal["in_progress"] = "in_progress"
