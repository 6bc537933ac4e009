"""The question and the forecast, as programs write and read them. Only pydantic is imported here:
the service reads this format too."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from flant5_train.config import Hyperparameters, Seed

MAX_TOLD = 5
"""Problems of a file that a forecast names."""

_CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Question(BaseModel):
    """A job as its trainer would receive it. Paths are absolute."""

    model_config = _CLOSED

    model: str
    """The model that the trainer would load: a hub name, a directory, or `flant5-demo`."""
    training_file: Path
    validation_file: Path | None = None
    models_directory: Path
    """The directory in which demo models are kept."""
    cache_directory: Path
    """The directory in which results about files are kept."""
    seed: Seed = 42
    hyperparameters: Hyperparameters
    gpu_bytes: int | None = None
    """Memory of one GPU; null when that is not known."""
    is_on_cpu: bool = False
    """True when all workers that are here compute on processors."""


class PairsForecast(BaseModel):
    """The pairs of one side of the data, training or validation."""

    model_config = _CLOSED

    is_trainable: bool
    """True when a job takes the file they are from."""
    conversations: int
    """Those that have pairs."""
    pairs: int
    """Questions with an answer to learn."""
    source_tokens: int
    """Tokens that the encoder reads in one pass over the pairs, after cutting."""
    target_tokens: int
    """Tokens of the answers in one pass, after cutting."""
    longest_source: int
    """Tokens before cutting."""
    longest_target: int
    """Tokens before cutting."""
    truncated_sources: int
    """Pairs whose question is longer than its limit: its oldest turns are left out."""
    truncated_targets: int
    """Pairs whose answer is longer than its limit: its end is left out."""
    source_tokens_lost: int
    """Tokens of questions that are left out."""
    target_tokens_lost: int
    """Tokens of answers that are left out."""
    repeats: int
    """Conversations of the whole file that are word for word an earlier one."""
    left_out: dict[str, int]
    """Turns of the whole file that make no pair, by reason."""
    num_problems: int
    """Faults of the whole file; `GET /files/{id}/report` lists them."""
    problems: tuple[str, ...]
    """The first five in words."""


class DataForecast(BaseModel):
    """The data that a job trains and evaluates on."""

    model_config = _CLOSED

    counted: Literal["exact", "estimated"]
    """`exact`: lengths are those that the run will have. `estimated`: from the characters, and so
    is all that follows from them: steps, fill, time."""
    note: str | None
    """The reason for an estimate."""
    training: PairsForecast
    """The pairs that are trained on."""
    validation: PairsForecast | None
    """Null when nothing is evaluated."""


class LargestForecast(BaseModel):
    """The micro-batch with the most work."""

    model_config = _CLOSED

    num_pairs: int
    """Pairs in it."""
    longest_source: int
    """Tokens of its longest question."""
    longest_target: int
    """Tokens of its longest answer."""
    source_places: int
    """Tokens of the encoder's side, padding counted."""
    target_places: int
    """Tokens of the decoder's side, padding counted."""


class BatchesForecast(BaseModel):
    """The batches of the run, from the same plan that a run makes."""

    model_config = _CLOSED

    steps_per_epoch: int
    """Optimizer steps of one pass over the training pairs."""
    num_steps: int
    """Optimizer steps of the run."""
    num_epochs: float
    """Passes over the training pairs in that many steps."""
    micro_batches_per_epoch: int
    """Forward passes of an epoch, over all processes."""
    pairs_per_step: float
    """On average."""
    source_fill: float
    """Share of the encoder's places that hold a token; the rest is padding."""
    target_fill: float
    """The same of the decoder's places."""
    source_tokens: int
    """Tokens that the whole run reads."""
    target_tokens: int
    """Tokens that the whole run learns from."""
    largest: LargestForecast
    """The one that decides about memory; it runs first."""


class ModelForecast(BaseModel):
    """The base model, as far as its sizes are known."""

    model_config = _CLOSED

    sizes_from: str
    """The source of the sizes, in words."""
    num_weights: int
    """With the rows of the run's tokens."""
    num_trained: int
    """Weights that the run changes."""
    flops: int | None
    """Floating-point operations of the whole run, padding and recomputation not counted; null
    without batches."""


class MemoryForecast(BaseModel):
    """Bytes of one GPU, by an estimate that errs on the large side."""

    model_config = _CLOSED

    total_bytes: int
    """The parts below, the allocator's and CUDA's own share. An upper bound: compiled runs
    (`torch_compile`) were measured at half of it."""
    weights_bytes: int
    """The weights, in 32 bits."""
    gradients_bytes: int
    """Their gradients."""
    optimizer_bytes: int
    """The optimizer's state."""
    activations_bytes: int
    """Memory that the largest micro-batch keeps for its backward pass."""
    working_bytes: int
    """Memory that single operations need beside that."""
    gpu_bytes: int | None
    """Memory of one GPU; null when no worker reports one and none was stated."""
    fits: bool | None
    """True when all of it is less than the GPU has; null when that is not known."""
    suggestions: tuple[str, ...]
    """Settings by which it would fit, each alone; empty when it fits, or when nothing helps."""


class DiskForecast(BaseModel):
    """Bytes on the disk of the service."""

    model_config = _CLOSED

    checkpoint_bytes: int
    """One checkpoint."""
    model_bytes: int
    """The final model."""
    num_checkpoints: int
    """The most that lie there at one time, a new one beside those that it replaces."""
    peak_bytes: int
    """All of them and the final model: the most that the job takes."""
    kept_bytes: int
    """Bytes that stay when it is done."""


class ChosenForecast(BaseModel):
    """The hyperparameters that the request leaves to the run."""

    model_config = _CLOSED

    num_train_epochs: float | None
    """Null when it was given, or `max_steps` was."""
    learning_rate: float | None
    """Null when it was given, or the sizes of the base model are not known."""
    message: str
    """The values and what they follow from."""


class Forecast(BaseModel):
    """The forecast of a job: its data, batches, memory and disk."""

    model_config = _CLOSED

    data: DataForecast
    obstacle: str | None
    """The reason for which the job would fail on its data; `batches` is null then."""
    batches: BatchesForecast | None
    model: ModelForecast | None
    model_note: str | None
    """The reason for which the sizes of the model are not known; memory and disk are null then."""
    memory: MemoryForecast | None
    disk: DiskForecast | None
    chosen: ChosenForecast | None
    """The automatic hyperparameters; null when the request gives all of them, or without
    batches."""
    slow_bf16: str | None
    """The warning for bfloat16 on a processor that has no instructions for it: that of the machine
    which makes the forecast."""
