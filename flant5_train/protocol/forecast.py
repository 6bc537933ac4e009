"""JSON format of a forecast and its request. This module imports only pydantic: the service reads
this format too."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from flant5_train.config import Hyperparameters, Seed

MAX_TOLD = 5
"""Maximum number of problems that a forecast lists."""

_CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ForecastRequest(BaseModel):
    """Request for a forecast: a job as its trainer would receive it. Paths are absolute."""

    model_config = _CLOSED

    model: str
    """Model that the trainer would load: a hub name, a directory, or `flant5-demo`."""
    training_file: Path
    validation_file: Path | None = None
    models_directory: Path
    """Directory of demo models."""
    cache_directory: Path
    """Directory of cached results about files."""
    seed: Seed = 42
    hyperparameters: Hyperparameters
    gpu_bytes: int | None = None
    """Memory of one GPU; null if unknown."""
    is_on_cpu: bool = False
    """True if all online workers train on CPUs."""


class PairsForecast(BaseModel):
    """Training or validation pairs."""

    model_config = _CLOSED

    is_trainable: bool
    """True if a job accepts the file of these pairs."""
    conversations: int
    """Conversations that have pairs."""
    pairs: int
    """Questions with an answer to learn."""
    source_tokens: int
    """Tokens that the encoder reads per epoch, after truncation."""
    target_tokens: int
    """Tokens of the answers per epoch, after truncation."""
    longest_source: int
    """Tokens of the longest question, before truncation."""
    longest_target: int
    """Tokens of the longest answer, before truncation."""
    truncated_sources: int
    """Pairs whose question exceeds its limit: its oldest turns are dropped."""
    truncated_targets: int
    """Pairs whose answer exceeds its limit: its end is cut off."""
    source_tokens_lost: int
    """Tokens of questions that are dropped."""
    target_tokens_lost: int
    """Tokens of answers that are cut off."""
    repeats: int
    """Conversations of the whole file that are exact duplicates of an earlier one."""
    left_out: dict[str, int]
    """Turns of the whole file that make no pair, by reason."""
    num_problems: int
    """Problems of the whole file; `GET /files/{id}/report` lists them."""
    problems: tuple[str, ...]
    """Descriptions of the first five problems."""


class DataForecast(BaseModel):
    """Data that a job trains and evaluates on."""

    model_config = _CLOSED

    counted: Literal["exact", "estimated"]
    """`exact`: lengths are those of the run. `estimated`: lengths are estimated from the
    characters, and so are steps, fill and time."""
    note: str | None
    """Reason for an estimate."""
    training: PairsForecast
    """Training pairs."""
    validation: PairsForecast | None
    """Validation pairs; null without evaluations."""


class LargestForecast(BaseModel):
    """Micro-batch with the most work."""

    model_config = _CLOSED

    num_pairs: int
    """Pairs in the micro-batch."""
    longest_source: int
    """Tokens of its longest question."""
    longest_target: int
    """Tokens of its longest answer."""
    source_places: int
    """Tokens on the encoder's side, including padding."""
    target_places: int
    """Tokens on the decoder's side, including padding."""


class BatchesForecast(BaseModel):
    """Batches of a run, from the same plan that the run will make."""

    model_config = _CLOSED

    steps_per_epoch: int
    """Optimizer steps per epoch."""
    num_steps: int
    """Optimizer steps of the run."""
    num_epochs: float
    """Epochs of the run."""
    micro_batches_per_epoch: int
    """Forward passes of an epoch, over all processes."""
    pairs_per_step: float
    """Average number of pairs per step."""
    source_fill: float
    """Share of the encoder's positions that hold a token; the rest is padding."""
    target_fill: float
    """Share of the decoder's positions that hold a token; the rest is padding."""
    source_tokens: int
    """Tokens that the encoder reads in the whole run."""
    target_tokens: int
    """Tokens that the decoder learns in the whole run."""
    largest: LargestForecast
    """Largest micro-batch. It runs first and decides how much memory is needed."""


class ModelForecast(BaseModel):
    """Sizes of the base model."""

    model_config = _CLOSED

    sizes_from: str
    """Source of the sizes."""
    num_weights: int
    """Weights, including the rows of the run's tokens."""
    num_trained: int
    """Weights that the run trains."""
    flops: int | None
    """Floating-point operations of the whole run, without padding and recomputation; null without
    batches."""


class MemoryForecast(BaseModel):
    """Memory of one GPU in bytes; an estimate that errs on the large side."""

    model_config = _CLOSED

    total_bytes: int
    """Sum of the parts below, plus the overhead of the allocator and CUDA. An upper bound: compiled
    runs (`torch_compile`) were measured at half of it."""
    weights_bytes: int
    """Weights, in 32 bits."""
    gradients_bytes: int
    """Gradients of the weights."""
    optimizer_bytes: int
    """State of the optimizer."""
    activations_bytes: int
    """Memory that the largest micro-batch keeps for its backward pass."""
    working_bytes: int
    """Temporary memory of single operations."""
    gpu_bytes: int | None
    """Memory of one GPU; null if no worker reports it and the request does not give it."""
    fits: bool | None
    """True if the total is less than the GPU's memory; null if that is unknown."""
    suggestions: tuple[str, ...]
    """Settings that would each make the job fit; empty if it fits, or if nothing helps."""


class DiskForecast(BaseModel):
    """Disk space of a job in bytes."""

    model_config = _CLOSED

    checkpoint_bytes: int
    """Size of one checkpoint."""
    model_bytes: int
    """Size of the final model."""
    num_checkpoints: int
    """Maximum number of checkpoints at any time: a new one exists beside those that it replaces."""
    peak_bytes: int
    """Maximum disk usage of the job: all these checkpoints and the final model."""
    kept_bytes: int
    """Disk usage after the job has ended."""


class ChosenForecast(BaseModel):
    """Hyperparameters that the run chooses automatically."""

    model_config = _CLOSED

    num_train_epochs: float | None
    """Null if the request gives it or `max_steps`."""
    learning_rate: float | None
    """Null if the request gives it, or if the sizes of the base model are unknown."""
    message: str
    """The chosen values and the reasons for them."""


class Forecast(BaseModel):
    """Forecast of a job: data, batches, memory and disk."""

    model_config = _CLOSED

    data: DataForecast
    obstacle: str | None
    """Reason why the job would fail on its data; `batches` is then null."""
    batches: BatchesForecast | None
    model: ModelForecast | None
    model_note: str | None
    """Reason why the sizes of the model are unknown; `memory` and `disk` are then null."""
    memory: MemoryForecast | None
    disk: DiskForecast | None
    chosen: ChosenForecast | None
    """Hyperparameters chosen automatically; null if the request gives all of them, or without
    batches."""
    slow_bf16: str | None
    """Warning about bfloat16 on a CPU without bfloat16 instructions, for the machine that makes the
    forecast."""
