"""Schemas of jobs and of job submissions."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.common import Identified, without_booleans_for_numbers
from flant5_train.config import Hyperparameters
from worker.jobs.integrations import Integration
from worker.jobs.job import Job, JobError, Status


class EchoedHyperparameters(Hyperparameters):
    """All hyperparameters of the job. `num_train_epochs` and `learning_rate` are null until the run
    chooses them, unless the request sets them."""

    n_epochs: int | float | Literal["auto"]
    """The same as `num_train_epochs`; `auto` while that is null."""
    batch_size: int
    """Pairs per optimizer step, over all processes."""
    learning_rate_multiplier: float | Literal["auto"]
    """`learning_rate` as a multiple of 1e-4; `auto` while that is null."""


class EchoedSupervised(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hyperparameters: EchoedHyperparameters
    """Same as the job's `hyperparameters`."""


class EchoedMethod(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: Literal["supervised"] = "supervised"
    supervised: EchoedSupervised
    """Settings of the method."""


class JobProgress(BaseModel):
    """Training progress of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    step: int
    """Optimizer steps done."""
    max_steps: int | None
    """Null until the data is read."""
    percent: float
    """Completed steps as a percentage, 0 to 100."""
    loss: float | None
    """Loss of the last step, in nats per target token."""
    tokens_per_second: float | None
    """Source and target tokens, excluding padding."""
    eta_seconds: float | None
    """Estimated time to the last step, at the current pace."""
    last_heartbeat_at: float | None
    """Last heartbeat of the worker."""

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """Returns None for a job that never ran."""
        if job.started_at is None:
            return None
        done = job.progress
        return cls(
            step=done.step if done else 0,
            max_steps=done.max_steps if done else None,
            percent=done.percent if done else 0.0,
            loss=done.loss if done else None,
            tokens_per_second=done.tokens_per_second if done else None,
            eta_seconds=done.eta_seconds if done else None,
            last_heartbeat_at=job.last_heartbeat_at,
        )


class JobObject(Identified):
    """A fine-tuning job."""

    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    """Unix seconds, as all times."""
    started_at: int | None
    """Start of the first attempt."""
    finished_at: int | None
    """End of the job; null until it ends."""
    model: str
    """The model that the job starts from."""
    fine_tuned_model: str | None
    """Id of the fine-tuned model; null until the job has succeeded."""
    organization_id: str = "flant5"
    """Always `flant5`."""
    status: Status
    """`validating_files`, `queued`, `running` or `paused`. Finally `succeeded`, `failed` or
    `cancelled`."""
    phase: str | None
    """Current activity of a job that has not ended: `waiting_for_gpu`, `preprocessing`,
    `loading_model`, `training`, `evaluating` or `saving`. `stopping` during a cancellation or
    pause. `paused` for a paused job shown as `queued` (`X-Flant5-Paused-As`)."""
    waiting_for: str | None
    """Reason why a queued job waits, such as `a worker with 4 slots: none is online; ...`; null for
    all other jobs."""
    progress: JobProgress | None
    """Training progress; null for a job that never ran."""
    estimated_finish: int | None
    """Estimated end of a running job, at the current pace."""
    attempt: int
    """Number of trainer executions started so far."""
    workers: tuple[str, ...]
    """The workers that run it, the leader first. More than one if `num_nodes` is above 1."""
    retry_at: int | None
    """Earliest time of the next attempt, for a queued job after an infrastructure failure."""
    run_seconds: float
    """Time on a worker in finished attempts, since the job was created or resumed after its end."""
    max_run_seconds: int | None
    """Maximum time on a worker, after which the job fails."""
    priority: int
    """Scheduling priority. Higher values run first."""
    owner: str
    """Name of the API key that submitted it; empty on a server without keys."""
    training_file: str
    """The submitted file id or path."""
    validation_file: str | None
    """The submitted file id or path."""
    result_files: tuple[str, ...]
    """Files with the purpose `fine-tune-results`: the metrics of each step as CSV, once the job has
    succeeded. Download with `GET /files/{id}/content`."""
    output_directory: str
    """Directory on the server with the checkpoints and the final model."""
    hyperparameters: EchoedHyperparameters
    """All hyperparameters, with every default filled in."""
    method: EchoedMethod
    """The method, as in a create request."""
    seed: int
    """Seed of the data order, the dropout and the validation split."""
    suffix: str | None
    """Part of the fine-tuned model's id."""
    metadata: dict[str, str]
    """Key-value pairs of the caller."""
    integrations: tuple[Integration, ...]
    """Trackers and hubs to which the run or its model is also sent. The job's events contain the
    addresses."""
    trained_tokens: int | None
    """Source and target tokens of all steps so far, excluding padding."""
    error: JobError | None
    """Reason for the failure; null if the job has not failed."""

    @classmethod
    def of(
        cls,
        job: Job,
        *,
        output: Path,
        hyperparameters: EchoedHyperparameters,
        waiting_for: str | None,
        result_files: tuple[str, ...],
        now: float,
    ) -> Self:
        return cls(
            id=job.id,
            created_at=int(job.created_at),
            started_at=_seconds(job.started_at),
            finished_at=_seconds(job.finished_at),
            model=job.spec.model,
            fine_tuned_model=job.fine_tuned_model,
            status=job.status,
            phase=_phase(job),
            waiting_for=waiting_for,
            progress=JobProgress.of(job),
            estimated_finish=_estimated_finish(job, now),
            attempt=job.attempt,
            workers=job.workers,
            retry_at=_seconds(job.retry_at),
            run_seconds=job.run_seconds,
            max_run_seconds=job.spec.max_run_seconds,
            priority=job.spec.priority,
            owner=job.owner,
            training_file=job.spec.training_file,
            validation_file=job.spec.validation_file,
            result_files=result_files,
            output_directory=str(output),
            hyperparameters=hyperparameters,
            method=EchoedMethod(supervised=EchoedSupervised(hyperparameters=hyperparameters)),
            seed=job.spec.seed,
            suffix=job.spec.suffix,
            metadata=job.spec.metadata,
            integrations=job.spec.integrations,
            trained_tokens=job.trained_tokens,
            error=job.error,
        )


def _phase(job: Job) -> str | None:
    if job.is_cancelling or job.is_pausing:
        return "stopping"
    return "waiting_for_gpu" if job.status is Status.QUEUED else job.phase


def _estimated_finish(job: Job, now: float) -> int | None:
    if job.status is not Status.RUNNING or not job.progress or job.progress.eta_seconds is None:
        return None
    return int(now + job.progress.eta_seconds)


def _seconds(instant: float | None) -> int | None:
    return None if instant is None else int(instant)


class RequestedHyperparameters(Hyperparameters):
    """Hyperparameters by the Trainer's names, plus the three of the SDK. "auto" means the
    default."""

    n_epochs: float | None = Field(None, gt=0, le=1000)
    """Alias of `num_train_epochs`."""
    batch_size: int | None = Field(None, ge=1, le=2**22)
    """Pairs per optimizer step, over all processes: `per_device_train_batch_size` x
    `gradient_accumulation_steps` x `num_gpus` x `num_nodes`. The first two are chosen
    accordingly."""
    learning_rate_multiplier: float | None = Field(None, gt=0, le=1e6)
    """`learning_rate` as a multiple of 1e-4."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_auto(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value != "auto"}
        return without_booleans_for_numbers(cls, given)


class Supervised(BaseModel):
    """Settings of supervised fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hyperparameters: RequestedHyperparameters | None = None
    """Hyperparameters that differ from the defaults."""


class Method(BaseModel):
    """Fine-tuning method."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: Literal["supervised"]
    """The only supported method."""
    supervised: Supervised | None = None
    """Settings of the method."""


class CreateJob(BaseModel):
    """A job to submit. Omitted and null fields take their defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    """Base model: `flant5-demo`, a directory name under `HOME/models`, a hub name such as
    `google/flan-t5-base`, or the id of a fine-tuned model or checkpoint of this service."""
    training_file: str
    """A file id, or a path relative to `DATA_ROOT`."""
    validation_file: str | None = None
    """Conversations to evaluate on: a file id, or a path relative to `DATA_ROOT`."""
    method: Method | None = None
    """Fine-tuning method, with the hyperparameters."""
    hyperparameters: RequestedHyperparameters | None = None
    """Deprecated by the SDK: use `method.supervised.hyperparameters`."""
    suffix: str | None = None
    """Part of the fine-tuned model's id: 1 to 64 letters, digits, `_`, `.` or `-`."""
    seed: int | None = None
    """Seed of the data order, the dropout and the validation split. Default: 42."""
    priority: int | None = None
    """Scheduling priority, -100 to 100. Higher values run first; ties run in creation order.
    Default: 0."""
    max_run_seconds: int | None = None
    """Maximum time on a worker, in seconds, over all attempts. When it expires, the job saves a
    checkpoint and fails with the code `timeout`. Default: no limit."""
    metadata: dict[str, str] | None = None
    """Up to 16 key-value pairs of the caller. Keys have up to 64 characters, values up to 512."""
    integrations: list[Integration] | None = Field(
        None, examples=[[{"type": "wandb", "wandb": {"project": "chats", "tags": ["first"]}}]]
    )
    """Trackers and hubs to which the run or its model is also sent, at most one per type. The
    operator must have configured them (docs/integrations.md)."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans(cls, data: Any) -> Any:
        return without_booleans_for_numbers(cls, data)
