"""The job: its record, its spec, and its statuses with their transitions.

The record has the fields that callers see, and those that its worker needs. The spec is a caller's
request, validated as a whole before it is stored. One table holds all transitions:

    validating_files -> queued -> running -> succeeded | failed | cancelled
           ^   |         ^  |       | |                    |         |
           |   v         |  v       | |                    v         v
           +-- paused ---+ paused <-+ |               back by a caller's resume
                         ^            |
                         +------------+   the worker stopped or was lost: back into the queue
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from flant5_train.config import Hyperparameters, Seed
from flant5_train.config import Phase as TrainerPhase
from worker.jobs.integrations import Integration, refuse_repeated
from worker.jobs.logging import redacted

MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


def _no_type_twice(integrations: tuple[Integration, ...]) -> tuple[Integration, ...]:
    refuse_repeated(integrations)
    return integrations


class JobSpec(BaseModel):
    """One fine-tuning job, as submitted; every default is filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str = Field(min_length=1, max_length=256)
    """Base model: `flant5-demo`, a directory name under `HOME/models`, a hub name such as
    `google/flan-t5-base`, or the id of a fine-tuned model or checkpoint of this service."""
    training_file: str = Field(min_length=1, max_length=1024)
    """A file id, or a path relative to `DATA_ROOT`."""
    validation_file: str | None = Field(None, min_length=1, max_length=1024)
    """Conversations to evaluate on: a file id, or a path relative to `DATA_ROOT`."""
    suffix: str | None = Field(None, min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    """Part of the fine-tuned model's id."""
    seed: Seed = 42
    """Seed of the data order, the dropout and the validation split."""
    priority: int = Field(0, ge=-100, le=100)
    """Scheduling priority. Higher values run first; ties run in creation order."""
    max_run_seconds: int | None = Field(None, ge=1, le=10**8)
    """Maximum time on a worker over all attempts, in seconds. When it is exceeded, the job saves a
    checkpoint and fails; resuming it grants the same time again. Null disables the limit."""
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=16)
    """Up to 16 key-value pairs of the caller."""
    integrations: Annotated[tuple[Integration, ...], AfterValidator(_no_type_twice)] = ()
    """Trackers and hubs to which the run or its model is exported; at most one of each type."""
    hyperparameters: Hyperparameters = Hyperparameters()


class Status(StrEnum):
    """The status of a job. A pending request (cancel, pause) is a separate flag."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True if the job has ended; only a caller can resume it."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


_RESUMED = frozenset({Status.QUEUED, Status.VALIDATING_FILES})
"""VALIDATING_FILES: the files never passed their check."""

ALLOWED_TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.VALIDATING_FILES: frozenset(
        {Status.QUEUED, Status.PAUSED, Status.FAILED, Status.CANCELLED}
    ),
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLED}),
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.PAUSED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}
    ),
    Status.PAUSED: _RESUMED | {Status.CANCELLED},
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: _RESUMED,
    Status.CANCELLED: _RESUMED,
}
"""All allowed transitions; each Lua script of the store makes one of them."""


Phase = TrainerPhase | None


class JobError(BaseModel):
    """The cause of a job's failure, as returned to callers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    code: str
    """The failure class, such as `bad_data`, `cuda_oom` or `timeout`."""
    message: str
    """Description of the failure."""
    param: str | None = None
    """The job field that caused it, if any."""

    @field_validator("message")
    @classmethod
    def _without_secrets(cls, message: str) -> str:
        return redacted(message)


class JobProgressState(BaseModel):
    """Progress of the training."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    step: int
    max_steps: int
    percent: float
    loss: float | None = None
    tokens_per_second: float | None = None
    """Source and target tokens, padding not counted."""
    eta_seconds: float | None = None


class Chosen(BaseModel):
    """The automatic hyperparameters, as chosen by the run; null for values that the spec sets."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_train_epochs: float | None = None
    learning_rate: float | None = None


class Job(BaseModel):
    """A snapshot of one job; instants are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    spec: JobSpec
    number: int = 0
    """Sequence number over all jobs ever created; orders jobs of equal priority."""
    owner: str = ""
    """Name of the API key that submitted it; empty on a server without keys."""
    status: Status
    phase: Phase = None
    """Current phase of a running job; null otherwise."""
    created_at: float
    started_at: float | None = None
    """Start of the first attempt."""
    finished_at: float | None = None
    epoch: int = 0
    """Fencing token: each claim raises it, and writes with an older one are refused."""
    attempt: int = 0
    """Number of attempts begun so far."""
    worker: str | None = None
    """The worker that holds the lease."""
    workers: tuple[str, ...] = ()
    """All workers of the running attempt, the lease holder first."""
    last_heartbeat_at: float | None = None
    cancel_requested: Literal["force", "save"] | None = None
    """`save`: save a checkpoint before cancelling."""
    is_given_up: bool = False
    """The API cancelled it because it could not record it; no caller got its id."""
    pause_requested: bool = False
    run_seconds: float = 0.0
    """Time that ended attempts held a worker, since the job was created or resumed after its
    end."""
    losses: int = 0
    """Attempts lost in a row without a new checkpoint."""
    failures: int = 0
    """Attempts with a failure that is worth one retry."""
    queued_at: float | None = None
    """When it last entered the queue."""
    retry_at: float | None = None
    """Earliest start of the next attempt after a loss."""
    result_floor: int = -1
    """Highest epoch whose result on disk predates the caller's last resume."""
    wished_at: int = 0
    """Time of the last request of a caller (create, cancel, pause, resume), in milliseconds."""
    submission_key: str = ""
    """Redis key of the submission that created it; empty if it has none."""
    progress: JobProgressState | None = None
    trained_tokens: int | None = None
    chosen: Chosen | None = None
    """The chosen automatic hyperparameters; None until the run has read its data."""
    error: JobError | None = None
    fine_tuned_model: str | None = None
    """Id of the resulting model; set once the job has succeeded."""

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The hyperparameters of the spec, with the values that the run chose in place of null."""
        chosen = self.chosen.model_dump(exclude_none=True) if self.chosen else {}
        return self.spec.hyperparameters.model_copy(update=chosen)

    @property
    def is_cancelling(self) -> bool:
        return self.cancel_requested is not None and not self.status.is_final

    @property
    def is_pausing(self) -> bool:
        return self.pause_requested and self.status is Status.RUNNING


def model_id(job_id: str, spec: JobSpec, *, step: int | None = None) -> str:
    """Returns the id of a job's fine-tuned model, or of its checkpoint at `step`.

    >>> model_id("ftjob-9f8e7d6c5b4a", JobSpec(model="flant5-demo", training_file="f"), step=40)
    'ft:flant5-demo:flant5::7d6c5b4a:ckpt-step-40'
    """
    base = spec.model.split(":")[1] if spec.model.startswith("ft:") else spec.model
    checkpoint = "" if step is None else f":ckpt-step-{step}"
    return f"ft:{base}:flant5:{spec.suffix or ''}:{job_id[-8:]}{checkpoint}"
