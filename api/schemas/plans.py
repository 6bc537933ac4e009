"""Schemas of job plans and of file reports."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.jobs import EchoedHyperparameters
from flant5_train.config import Hyperparameters, OnBadRecord, OnMissingQuestion
from flant5_train.protocol.file_report import FileReport
from flant5_train.protocol.forecast import (
    BatchesForecast,
    DataForecast,
    DiskForecast,
    MemoryForecast,
    ModelForecast,
)
from worker.jobs.job import JobSpec

_DEFAULTS = Hyperparameters()

MAX_WAIT_SECONDS = 30.0


class ReportQuery(BaseModel):
    """Options of a report. Names and ranges are those of a job's hyperparameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Annotated[str, Field(max_length=255)] | None = None
    """Base model whose vocabulary counts the tokens. Without it, token counts are estimated."""
    model_max_length: int = Field(_DEFAULTS.model_max_length, ge=32, le=65536)
    """Token limit for questions and answers."""
    max_source_length: int | None = Field(None, ge=32, le=65536)
    """Token limit for questions alone."""
    max_target_length: int | None = Field(None, ge=8, le=65536)
    """Token limit for answers alone."""
    tokenization: Literal["lossless", "fastchat"] = _DEFAULTS.tokenization
    """Tokenization method, as in the hyperparameter of that name."""
    on_bad_record: OnBadRecord = _DEFAULTS.on_bad_record
    """`fail`: a malformed record makes the file unusable. `skip`: it is omitted."""
    on_missing_question: OnMissingQuestion = _DEFAULTS.on_missing_question
    """`train`: answers without a preceding question make pairs. `skip`: they are omitted."""
    wait_seconds: float = Field(10.0, ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)
    """Maximum time to wait for a new report, in seconds. An unfinished report continues in the
    background."""


class FileReportObject(FileReport):
    """Report on an uploaded file."""

    object: Literal["file.report"] = "file.report"
    file_id: str
    """The checked file."""
    status: Literal["completed"] = "completed"


class ReportInProgress(BaseModel):
    """The report is not finished, because a large file is being read. Ask again."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["file.report"] = "file.report"
    file_id: str
    """The file being checked."""
    status: Literal["in_progress"] = "in_progress"


_CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PlanQuery(BaseModel):
    """Options of a plan."""

    model_config = _CLOSED

    gpu_memory_gib: float | None = Field(None, gt=0, le=10_000, allow_inf_nan=False)
    """Memory of one GPU, in GiB. Default: that of the workers that could run the job."""
    wait_seconds: float = Field(10.0, ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)
    """Maximum time to wait for a new plan, in seconds. An unfinished plan continues in the
    background."""


class PlannedSpec(JobSpec):
    """The planned job, with every default filled in."""

    hyperparameters: EchoedHyperparameters
    """All hyperparameters."""


class PlannedMemory(MemoryForecast):
    """Memory of one GPU in bytes, conservatively estimated."""

    gpu_from: str | None
    """Source of `gpu_bytes`: `stated`, or the name of a worker."""
    reason: str | None
    """Reason if `fits` is null."""


class PlannedDisk(DiskForecast):
    """Disk space of the service, in bytes."""

    free_bytes: int
    """Currently free."""
    fits: bool
    """True if `peak_bytes` are currently free."""


class PlannedTime(BaseModel):
    """Estimated run time, from measured jobs of this service with the same base model and the same
    speed-related settings. No other source is used."""

    model_config = _CLOSED

    seconds: float | None
    """Time for the steps and everything else; null if no such job was measured."""
    steps_seconds: float | None
    """Floating-point operations of all steps at the measured rate. The rate includes the
    evaluations and checkpoints of the measured jobs."""
    other_seconds: float | None
    """Time of the measured jobs outside their steps: reading, loading, compiling, saving. If none
    of them succeeded, null and not counted."""
    tokens_per_second: float | None
    """Median of the measured jobs."""
    tflops: float | None
    """10^12 floating-point operations of the model per second, median of the measured jobs."""
    num_measured_jobs: int
    """Number of measured jobs."""
    reason: str | None
    """Reason if `seconds` is null."""


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
    """A potential problem of the job."""

    model_config = _CLOSED

    level: Literal["error", "warning"]
    """`error`: under current conditions, the job would fail."""
    code: WarningCode
    """The kind of warning, for programs."""
    message: str
    """The problem and a possible fix."""
    param: str | None
    """The request field concerned."""


class JobPlan(BaseModel):
    """An estimate of a job. Nothing is started and no job is stored."""

    model_config = _CLOSED

    object: Literal["fine_tuning.job.plan"] = "fine_tuning.job.plan"
    status: Literal["completed"] = "completed"
    is_feasible: bool
    """False if any warning is an `error`."""
    spec: PlannedSpec
    """The job as it would be submitted."""
    data: DataForecast
    """Content of the files."""
    batches: BatchesForecast | None
    """Batches of the run; null if the job would fail on its data, see `warnings`."""
    model: ModelForecast | None
    """The base model; null if its size is unknown."""
    model_note: str | None
    """Reason if the size of the base model is unknown. Memory, disk and time are then null."""
    memory: PlannedMemory | None
    """GPU memory; null if the size of the model is unknown."""
    disk: PlannedDisk | None
    """Disk space; null if the size of the model is unknown."""
    time: PlannedTime
    """Estimated run time."""
    auto: str | None
    """Hyperparameters that the run chooses, and the reason, such as `auto: 20 epochs, 200 steps,
    because ...`. `spec` has the values. Null if the request sets all of them."""
    warnings: tuple[PlanWarning, ...]
    """Potential problems, errors first."""


class PlanInProgress(BaseModel):
    """The plan is not finished, because a large file is being read. Ask again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    object: Literal["fine_tuning.job.plan"] = "fine_tuning.job.plan"
    status: Literal["in_progress"] = "in_progress"
