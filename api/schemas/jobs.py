"""Jobs, as callers see them."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from api.schemas.pages import Identified
from flant5_train.config import Hyperparameters
from worker.jobs.integrations import Integration
from worker.jobs.job import Job, JobError
from worker.jobs.life import Status


class EchoedHyperparameters(Hyperparameters):
    """All hyperparameters with the values the job runs with. `num_train_epochs` and
    `learning_rate` are null until the run has chosen them, unless the request gave them."""

    n_epochs: int | float | Literal["auto"]
    """The same as `num_train_epochs`; `auto` while that is null."""
    batch_size: int
    """Pairs per optimizer step, over all processes."""
    learning_rate_multiplier: float | Literal["auto"]
    """`learning_rate` as a factor on 1e-4; `auto` while that is null."""


class EchoedSupervised(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hyperparameters: EchoedHyperparameters
    """The same as `hyperparameters` of the job."""


class EchoedMethod(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: Literal["supervised"] = "supervised"
    supervised: EchoedSupervised
    """Its settings."""


class JobProgress(BaseModel):
    """How far a job's training is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    step: int
    """Optimizer steps done."""
    max_steps: int | None
    """Null until the data is read."""
    percent: float
    """Share of the steps that are done, 0 to 100."""
    loss: float | None
    """Of the last step, in nats per target token."""
    tokens_per_second: float | None
    """Source and target tokens, padding not counted."""
    eta_seconds: float | None
    """Time to the last step, by the pace so far."""
    last_heartbeat_at: float | None
    """When the worker last said that it is alive."""

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """None for a job that has never run."""
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
    """Unix seconds, as all instants."""
    started_at: int | None
    """When the first attempt began."""
    finished_at: int | None
    """When it ended; null before."""
    model: str
    """What it starts from."""
    fine_tuned_model: str | None
    """Id of the result; null until the job has succeeded."""
    organization_id: str = "flant5"
    """Always `flant5`."""
    status: Status
    """`validating_files`, `queued`, `running`, `paused`, and at the end `succeeded`, `failed` or
    `cancelled`."""
    phase: str | None
    """What a job that has not ended is doing: `waiting_for_gpu`, `preprocessing`,
    `loading_model`, `training`, `evaluating`, `saving`, or `stopping` when it is to be cancelled
    or paused. `paused` for a paused job whose status was asked for as `queued`
    (`X-Flant5-Paused-As`)."""
    waiting_for: str | None
    """What a queued job waits for, such as `a worker with 4 slots: none is there; ...`; null for
    every other job."""
    progress: JobProgress | None
    """How far the training is; null for a job that has never run."""
    estimated_finish: int | None
    """When a running job will end, by the pace so far."""
    attempt: int
    """Executions of the trainer begun so far."""
    workers: tuple[str, ...]
    """The workers that run it, the one that leads first; more than one for `num_nodes` above 1."""
    retry_at: int | None
    """When a queued job that lost attempts may run again."""
    run_seconds: float
    """Time on a worker of the attempts that ended, since the job was created, or resumed after
    its end."""
    max_run_seconds: int | None
    """Time on a worker after which the job has failed."""
    priority: int
    """Jobs with a higher one run first."""
    owner: str
    """Name of the API key that submitted it; empty on a server without keys."""
    training_file: str
    """The file id or path it was submitted with."""
    validation_file: str | None
    """The file id or path it was submitted with."""
    result_files: tuple[str, ...]
    """Files of the purpose `fine-tune-results`: the numbers of each step as CSV, once the job has
    succeeded. `GET /files/{id}/content` gives it."""
    output_directory: str
    """Where checkpoints and the final model lie on the server."""
    hyperparameters: EchoedHyperparameters
    """All of them, with every default filled in."""
    method: EchoedMethod
    """The same in the shape of a create request."""
    seed: int
    """Of the data order, the dropout and the validation split."""
    suffix: str | None
    """Part of the fine-tuned model's id."""
    metadata: dict[str, str]
    """The caller's own pairs."""
    integrations: tuple[Integration, ...]
    """Where the run or its model is shown besides here; the events of the job tell the
    addresses."""
    trained_tokens: int | None
    """Source and target tokens of all steps so far, padding not counted."""
    error: JobError | None
    """Why it failed; null for a job that did not."""

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
