"""Format of `progress.jsonl`: events of a run in order, one JSON object per line.

Rank 0 appends. A resumed run appends to the same file: a step that was trained again appears again,
and its last record counts. Example line:

    {"type":"step","at":1764000000.25,"step":12,"max_steps":75,"epoch":0.48,"loss":3.21, ...}

`docs/progress-format.md` shows every record. No torch here: the worker reads this format too.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from flant5_train.config import Batching, Phase

PROGRESS_FILE = "progress.jsonl"
"""File name in a run directory."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    at: float = Field(default_factory=time.time)
    """Unix time in seconds."""


class PhaseChange(_Record):
    """The run entered a phase."""

    type: Literal["phase"] = "phase"
    phase: Phase


class FileEncoding(_Record):
    """Encoding progress of a file, reported every few seconds."""

    type: Literal["encoding"] = "encoding"
    file: str
    conversations: int
    bytes_done: int
    bytes_total: int


class DataRead(_Record):
    """A data set was encoded: its counts, cut pairs, and left-out turns by reason."""

    type: Literal["data"] = "data"
    split: Literal["train", "validation"]
    report: dict[str, object]


class LargestMicroBatch(BaseModel):
    """The micro-batch with the most work. It runs first, to test for sufficient memory."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_pairs: int
    longest_source: int
    longest_target: int
    padded_tokens: int
    """Tokens of both sides, including padding."""


class BatchesPlanned(_Record):
    """The batches are planned; reported once per start."""

    type: Literal["batches"] = "batches"
    batching: Batching
    num_steps: int
    """Optimizer steps of the run."""
    num_micro_batches: int
    """Forward passes per epoch, over all processes."""
    source_fill: float
    """Packing efficiency of the sources: share of tokens other than padding, in the first epoch."""
    target_fill: float
    """Packing efficiency of the targets: share of tokens other than padding, in the first epoch."""
    straggler: float
    """Ratio of mean to largest concurrent work of the processes; 1 if none waits for another."""
    largest: LargestMicroBatch


class MemoryPlanned(_Record):
    """GPU memory of the run, estimated before the first step."""

    type: Literal["memory"] = "memory"
    fits: bool
    message: str
    """The estimate as text, with settings that would make the run fit."""
    gpu_bytes: int
    """Memory of one GPU."""
    total_bytes: int
    """Sum of the parts below, plus allocator overhead and CUDA itself."""
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    working_bytes: int
    suggestions: tuple[str, ...] = ()
    """Settings, each of which makes the run fit, by the estimate."""


class AutoChosen(_Record):
    """Values of automatic hyperparameters; reported once per start."""

    type: Literal["auto"] = "auto"
    num_train_epochs: float | None = None
    """Null if the caller gave it or `max_steps`."""
    learning_rate: float | None = None
    """Null if the caller gave it."""
    message: str
    """The values with their reasons."""


class WarningIssued(_Record):
    """A setting or the data may make the run slower or worse than expected. The run continues."""

    type: Literal["warning"] = "warning"
    param: str | None = None
    """The hyperparameter concerned."""
    message: str
    """The problem with the value found, its effect, and the next step."""


class TrainingStarted(_Record):
    """Training starts or resumes."""

    type: Literal["start"] = "start"
    step: int
    """Completed optimizer steps: 0, or the step of the resumed checkpoint."""
    max_steps: int
    num_pairs: int
    num_processes: int


class StepTrained(_Record):
    """The loss since the last such record."""

    type: Literal["step"] = "step"
    step: int
    max_steps: int
    epoch: float
    loss: float
    """Mean negative log-likelihood per target token, over all processes."""
    learning_rate: float
    grad_norm: float | None = None
    tokens_seen: int
    """Source and target tokens trained on so far, without padding, over all processes."""
    tokens_per_second: float
    source_fill: float | None = None
    """Share of the encoder positions in batches that held a token; the rest was padding."""
    target_fill: float | None = None
    """Share of the decoder positions in batches that held a token."""
    tflops: float | None = None
    """10^12 floating-point operations of the model per second, over all processes.
    `flant5_train.estimates.flops` counts them without padding and recomputation."""
    mfu: float | None = None
    """`tflops` as a share of the GPUs' bfloat16 peak; null if the peak is unknown."""
    gpu_memory_bytes: int | None = None
    """Peak tensor memory on the GPU of rank 0 since the last such record."""
    eta_seconds: float


class Evaluated(_Record):
    """The loss on the validation pairs."""

    type: Literal["evaluation"] = "evaluation"
    step: int
    eval_loss: float
    eval_perplexity: float | None = None
    """e to the power of `eval_loss`; null in files of older versions."""
    eval_token_accuracy: float
    eval_tokens: int
    eval_exact_match: float | None = None
    """Share of exactly matching sample answers; null without sample answers."""
    eval_rouge_l: float | None = None
    """Mean ROUGE-L (F measure, 0 to 1) of the sample answers."""


class SampleAnswer(BaseModel):
    """A generated answer to a validation question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    expected: str
    given: str


class SampleAnswers(_Record):
    """A few of the scored answers of an evaluation, shortened for display."""

    type: Literal["answers"] = "answers"
    step: int
    num_answers: int
    """Number of generated answers, over all processes."""
    answers: tuple[SampleAnswer, ...]


class StoppedEarly(_Record):
    """Early stopping ended training, because the validation loss no longer decreases.

    The final model follows.
    """

    type: Literal["early_stop"] = "early_stop"
    step: int
    patience: int
    """Consecutive evaluations without a lower loss."""
    best_step: int
    best_eval_loss: float


class BestChosen(_Record):
    """The final model comes from this step, the checkpoint with the lowest validation loss."""

    type: Literal["best"] = "best"
    step: int
    eval_loss: float


class CheckpointSaved(_Record):
    """A checkpoint is complete and can be resumed or loaded."""

    type: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str
    metrics: dict[str, float]


class ModelSaved(_Record):
    """The final model is complete; always the last record of a finished run."""

    type: Literal["model"] = "model"
    path: str
    step: int
    train_loss: float
    tokens_seen: int


class Stopped(_Record):
    """The run stopped early on request. It can be resumed at `step`."""

    type: Literal["stopped"] = "stopped"
    step: int
    path: str | None
    """The checkpoint saved on stopping; null if there was nothing to save."""


Record = (
    PhaseChange
    | FileEncoding
    | DataRead
    | BatchesPlanned
    | MemoryPlanned
    | AutoChosen
    | WarningIssued
    | TrainingStarted
    | StepTrained
    | Evaluated
    | SampleAnswers
    | StoppedEarly
    | BestChosen
    | CheckpointSaved
    | ModelSaved
    | Stopped
)

_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="type")])


def parse_record(line: str | bytes) -> Record:
    """Returns the record of a line. Raises pydantic's ValidationError if it is not a record."""
    return _RECORD.validate_json(line)


def read_records(path: Path) -> Iterator[Record]:
    """Yields the records of a file, except an unfinished last line without its newline."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield parse_record(line)
