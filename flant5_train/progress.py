"""The format of `progress.jsonl`: what happened in a run, in order, one JSON object a line.

Rank 0 appends; a resumed run appends to the same file, so a step that was trained again appears
again and its last record counts. Example line:

    {"type":"step","at":1764000000.25,"step":12,"max_steps":75,"epoch":0.48,"loss":3.21, ...}

`docs/progress-format.md` shows every record. No torch here: the worker reads this format too.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from flant5_train.config import Batching

PROGRESS_FILE = "progress.jsonl"
"""Its name in a run directory."""


Phase = Literal["preprocessing", "loading_model", "training", "evaluating", "saving", "stopping"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    at: float = Field(default_factory=time.time)
    """Unix time in seconds."""


class PhaseChange(_Record):
    """The run entered a phase."""

    type: Literal["phase"] = "phase"
    phase: Phase


class FileEncoding(_Record):
    """How far the encoding of a file is; told every few seconds."""

    type: Literal["encoding"] = "encoding"
    file: str
    conversations: int
    bytes_done: int
    bytes_total: int


class DataRead(_Record):
    """The files were encoded: what they hold, what is cut and what is left out, by reason."""

    type: Literal["data"] = "data"
    split: Literal["train", "validation"]
    report: dict[str, object]


class LargestMicroBatch(BaseModel):
    """The micro-batch with the most work; it is run first, to see whether memory suffices."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_pairs: int
    longest_source: int
    longest_target: int
    padded_tokens: int
    """Of both sides, padding counted."""


class BatchesPlanned(_Record):
    """Which pairs are trained on together is decided; told once per start."""

    type: Literal["batches"] = "batches"
    batching: Batching
    num_steps: int
    """Optimizer steps of the run."""
    num_micro_batches: int
    """Forward passes of an epoch, over all processes."""
    source_fill: float
    """Share of the source tokens that are no padding, in the first epoch."""
    target_fill: float
    """Share of the target tokens that are no padding, in the first epoch."""
    straggler: float
    """Mean over largest work of the processes at the same time; 1 when none waits for another."""
    largest: LargestMicroBatch


class MemoryPlanned(_Record):
    """What the run will take of a GPU's memory, estimated before the first step."""

    type: Literal["memory"] = "memory"
    fits: bool
    message: str
    """The estimate in words, with the settings by which it would fit."""
    gpu_bytes: int
    """What one GPU has."""
    total_bytes: int
    """The parts below, the allocator's and CUDA's own share."""
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    working_bytes: int
    suggestions: tuple[str, ...] = ()
    """Each alone makes it fit, by the estimate."""


class AutoChosen(_Record):
    """Hyperparameters that were left to the run have their values; reported once per start."""

    type: Literal["auto"] = "auto"
    num_train_epochs: float | None = None
    """Null when it was given, or `max_steps` was."""
    learning_rate: float | None = None
    """Null when it was given."""
    message: str
    """The values and what they follow from."""


class WarningIssued(_Record):
    """A setting or the data will make the run slower or worse than its owner may expect; the run
    goes on."""

    type: Literal["warning"] = "warning"
    param: str | None = None
    """The hyperparameter that the warning is about."""
    message: str
    """The problem with the value found, its effect, and the next step."""


class TrainingStarted(_Record):
    """Training begins or goes on."""

    type: Literal["start"] = "start"
    step: int
    """Optimizer steps done before: 0, or the step of the checkpoint that is resumed."""
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
    """Source and target tokens trained on so far, padding not counted, over all processes."""
    tokens_per_second: float
    source_fill: float | None = None
    """Share of the encoder's places in batches that held a token; the rest was padding."""
    target_fill: float | None = None
    """The same of the decoder's places."""
    tflops: float | None = None
    """10^12 floating-point operations of the model per second, over all processes: what the pairs
    cost by `flant5_train.flops`, neither padding nor recomputation counted."""
    mfu: float | None = None
    """`tflops` as a share of the GPUs' bfloat16 peak; null where the peak is not known."""
    gpu_memory_bytes: int | None = None
    """The most that tensors took on the GPU of rank 0 since the last such record."""
    eta_seconds: float


class Evaluated(_Record):
    """The loss on the validation pairs."""

    type: Literal["evaluation"] = "evaluation"
    step: int
    eval_loss: float
    eval_perplexity: float | None = None
    """e to the power of `eval_loss`; null in files from before it was written."""
    eval_token_accuracy: float
    eval_tokens: int
    eval_exact_match: float | None = None
    """Share of the sample that the model answers word for word; null when it is not asked."""
    eval_rouge_l: float | None = None
    """Mean ROUGE-L (F measure, 0 to 1) of its answers."""


class SampleAnswer(BaseModel):
    """What the model answers by itself to a question of the validation pairs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    expected: str
    given: str


class SampleAnswers(_Record):
    """A few of the answers that an evaluation was scored by, cut to a length for people."""

    type: Literal["answers"] = "answers"
    step: int
    num_answers: int
    """All that were generated, over all processes."""
    answers: tuple[SampleAnswer, ...]


class StoppedEarly(_Record):
    """Training is over before its last step: the validation loss has stopped falling. The final
    model comes next."""

    type: Literal["early_stop"] = "early_stop"
    step: int
    patience: int
    """Evaluations in a row that brought nothing."""
    best_step: int
    best_eval_loss: float


class BestChosen(_Record):
    """The final model will be that of this step, the best checkpoint by its validation loss."""

    type: Literal["best"] = "best"
    step: int
    eval_loss: float


class CheckpointSaved(_Record):
    """A checkpoint is complete: it can be resumed and loaded from now on."""

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
    """The run ended early because it was told to; it can be resumed at `step`."""

    type: Literal["stopped"] = "stopped"
    step: int
    path: str | None
    """The checkpoint saved on the way out; null when there was nothing to save."""


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
    """Raises pydantic's ValidationError when the line is not a record."""
    return _RECORD.validate_json(line)


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file; a last line without its newline is still being written: left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield parse_record(line)
