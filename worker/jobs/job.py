"""The job record: what a caller sees of a job, and what its worker needs to know."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from flant5_train.config import Hyperparameters
from flant5_train.progress import Phase as TrainerPhase
from worker.jobs.life import Status
from worker.jobs.redaction import redacted
from worker.jobs.spec import JobSpec

Phase = TrainerPhase | None


class JobError(BaseModel):
    """Why a job failed, in the shape callers get it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    code: str
    """The class of failure, such as `bad_data`, `cuda_oom` or `timeout`."""
    message: str
    """What happened, in words."""
    param: str | None = None
    """The field of the job at fault, if one is."""

    @field_validator("message")
    @classmethod
    def _without_secrets(cls, message: str) -> str:
        return redacted(message)


class Progress(BaseModel):
    """How far the training is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    step: int
    max_steps: int
    percent: float
    loss: float | None = None
    tokens_per_second: float | None = None
    """Source and target tokens, padding not counted."""
    eta_seconds: float | None = None


class Chosen(BaseModel):
    """The hyperparameters that were left to the run, as it chose them; null is a value that the
    spec gives."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_train_epochs: float | None = None
    learning_rate: float | None = None


class Job(BaseModel):
    """A snapshot of one job; instants are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    spec: JobSpec
    number: int = 0
    """Counts all jobs ever created; its place among those of one priority."""
    owner: str = ""
    """Name of the API key that submitted it; empty where none is asked for."""
    status: Status
    phase: Phase = None
    """What a running job is doing; null otherwise."""
    created_at: float
    started_at: float | None = None
    """When the first attempt began."""
    finished_at: float | None = None
    epoch: int = 0
    """Fencing number: one higher with each claim; a write with an older one is refused."""
    attempt: int = 0
    """Executions of the trainer begun so far."""
    worker: str | None = None
    """The worker that holds the lease."""
    workers: tuple[str, ...] = ()
    """All workers of the running attempt, the one that holds the lease first."""
    last_heartbeat_at: float | None = None
    cancel_requested: Literal["force", "save"] | None = None
    """`save`: with a checkpoint first."""
    is_given_up: bool = False
    """It was cancelled by the API itself, which could not record it: nobody was told of it."""
    pause_requested: bool = False
    run_seconds: float = 0.0
    """Time that ended attempts held a worker, since the job was created or resumed after its
    end."""
    losses: int = 0
    """Attempts lost in a row without a new checkpoint."""
    failures: int = 0
    """Attempts that failed in a way that is worth one more try."""
    queued_at: float | None = None
    """When it last went into the queue."""
    retry_at: float | None = None
    """When a job that lost an attempt may run again."""
    result_floor: int = -1
    """Epoch up to which a result on disk is from before the caller resumed the job."""
    wished_at: int = 0
    """When a caller last wanted something of it, in milliseconds: it was created, cancelled, paused
    or resumed."""
    submission_key: str = ""
    """Key in Redis of the submission that made it; empty when it has none."""
    progress: Progress | None = None
    trained_tokens: int | None = None
    chosen: Chosen | None = None
    """The automatic hyperparameters; None until the run has read its data."""
    error: JobError | None = None
    fine_tuned_model: str | None = None
    """Id of the result; set when the job succeeded."""

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Those of the spec, and in the place of null the values that the run chose."""
        chosen = self.chosen.model_dump(exclude_none=True) if self.chosen else {}
        return self.spec.hyperparameters.model_copy(update=chosen)

    @property
    def is_cancelling(self) -> bool:
        return self.cancel_requested is not None and not self.status.is_final

    @property
    def is_pausing(self) -> bool:
        return self.pause_requested and self.status is Status.RUNNING


def model_id(job_id: str, spec: JobSpec, *, step: int | None = None) -> str:
    """The id of a job's fine-tuned model, or of its checkpoint at `step`.

    >>> model_id("ftjob-9f8e7d6c5b4a", JobSpec(model="flant5-demo", training_file="f"), step=40)
    'ft:flant5-demo:flant5::7d6c5b4a:ckpt-step-40'
    """
    base = spec.model.split(":")[1] if spec.model.startswith("ft:") else spec.model
    checkpoint = "" if step is None else f":ckpt-step-{step}"
    return f"ft:{base}:flant5:{spec.suffix or ''}:{job_id[-8:]}{checkpoint}"
