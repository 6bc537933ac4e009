"""Schemas of a job's history: events, checkpoints, log lines and the loss curve."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, JsonValue

from api.schemas.common import Identified
from worker.jobs.events import Checkpoint, Event, LogLine
from worker.jobs.job import Job, model_id

EVENT_PREFIX = "ft-event-"
CHECKPOINT_PREFIX = "ftckpt_"

_METRICS = {
    "loss": "train_loss",
    "train_loss": "train_loss",
    "eval_loss": "full_valid_loss",
    "eval_token_accuracy": "full_valid_mean_token_accuracy",
}
"""Trainer's names -> SDK's names. All others are unchanged."""


class EventObject(Identified):
    """An event of a job."""

    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    seq: int
    """1, 2, 3, ... within the job. A gap shows a missed event."""
    created_at: int
    """Unix seconds."""
    level: Literal["info", "warn", "error"]
    """Severity."""
    type: Literal["message", "metrics"]
    """`metrics` for training metrics, else `message`."""
    message: str
    """Description of the event."""
    data: dict[str, JsonValue]
    """The values of a `metrics` event, or the new `status` after a status change."""

    @classmethod
    def of(cls, event: Event) -> Self:
        return cls(
            id=EVENT_PREFIX + event.id,
            seq=event.seq,
            created_at=int(event.created_at),
            level=event.level,
            type=event.type,
            message=event.message,
            data=event.data,
        )


class LogLineObject(Identified):
    """A log line of the trainer."""

    object: Literal["fine_tuning.job.log_line"] = "fine_tuning.job.log_line"
    seq: int
    """1, 2, 3, ... within the job."""
    created_at: float
    """Unix seconds with a fraction, since lines may follow each other quickly."""
    stream: Literal["stdout", "stderr"]
    """The output stream."""
    line: str
    """The line, without its newline."""

    @classmethod
    def of(cls, line: LogLine) -> Self:
        return cls(**line.model_dump())


class CheckpointObject(Identified):
    """A complete checkpoint. A job can start from its model id."""

    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    """Unix seconds."""
    fine_tuned_model_checkpoint: str
    """Model id of the checkpoint. A job can start from it."""
    fine_tuning_job_id: str
    """The job that saved it."""
    step_number: int
    """Optimizer steps done."""
    metrics: dict[str, float]
    """`step`, `train_loss` and, if it was evaluated, `full_valid_loss`,
    `full_valid_mean_token_accuracy` and more. Losses are in nats per target token."""
    path: str
    """Path relative to the run directory."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, job: Job) -> Self:
        metrics = {_METRICS.get(name, name): value for name, value in checkpoint.metrics.items()}
        return cls(
            id=CHECKPOINT_PREFIX + checkpoint.id,
            created_at=int(checkpoint.created_at),
            fine_tuned_model_checkpoint=model_id(job.id, job.spec, step=checkpoint.step),
            fine_tuning_job_id=job.id,
            step_number=checkpoint.step,
            metrics={"step": checkpoint.step} | metrics,
            path=checkpoint.path,
        )


Column = tuple[float | None, ...]


class Metrics(BaseModel):
    """Metrics of a run in columns. Row i of `loss` belongs to row i of `step`, row i of `eval_loss`
    to row i of `eval_step`. NaN and infinity are null."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["fine_tuning.job.metrics"] = "fine_tuning.job.metrics"
    step: tuple[int, ...]
    """Optimizer steps."""
    epoch: Column
    """Epochs, with fractions."""
    loss: Column
    """Mean negative log-likelihood per target token."""
    learning_rate: Column
    """Learning rate of the step."""
    grad_norm: Column
    """Gradient norm before clipping."""
    tokens_seen: tuple[int, ...]
    """Source and target tokens, excluding padding."""
    tokens_per_second: Column
    """Source and target tokens, excluding padding."""
    source_fill: Column
    """Share of the encoder positions in batches that held a token. The rest was padding."""
    target_fill: Column
    """Share of the decoder positions in batches that held a token."""
    tflops: Column
    """10^12 floating-point operations of the model per second, over all processes."""
    mfu: Column
    """`tflops` as a share of the GPUs' bfloat16 peak; null if the peak is unknown."""
    gpu_memory_bytes: Column
    """Peak memory on any one GPU; null on a host without GPUs."""
    eval_step: tuple[int, ...]
    """Optimizer steps at each evaluation."""
    eval_loss: Column
    """Mean negative log-likelihood per target token on the validation pairs."""
    eval_perplexity: Column
    """`e` to the power of `eval_loss`."""
    eval_token_accuracy: Column
    """Share of the target tokens that the model predicts correctly, 0 to 1."""
    eval_exact_match: Column
    """Exact match of the answers to sampled validation questions; null without samples."""
    eval_rouge_l: Column
    """ROUGE-L of the same answers."""
    num_malformed_lines: int
    """Unreadable lines of `progress.jsonl`, which are omitted here."""
