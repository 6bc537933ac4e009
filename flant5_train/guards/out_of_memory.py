"""A GPU whose memory does not suffice: what was on it, and what would help most."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import TrainingArguments as HfTrainingArguments
from transformers.training_args import OptimizerNames

from flant5_train.diagnosis import failure_code
from flant5_train.failure import FailureCode, TrainingError

_MAX_SAID_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class BatchShape:
    """One forward pass: its pairs, and the tokens of its longest source and target. Of packed pairs
    the lengths are those of the whole row."""

    num_pairs: int
    source_length: int
    target_length: int

    @classmethod
    def of(cls, batch: Mapping[str, torch.Tensor]) -> "BatchShape":
        num_pairs, source_length = batch["input_ids"].shape
        if "source_segments" in batch:
            num_pairs = int(batch["source_segments"].max())
        return cls(num_pairs, source_length, batch["labels"].shape[1])

    def __str__(self) -> str:
        pairs = "1 pair" if self.num_pairs == 1 else f"{self.num_pairs} pairs"
        return f"{pairs}, {self.source_length} source and {self.target_length} target tokens long"


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """The settings that decide how much memory a step takes."""

    bf16: bool
    gradient_checkpointing: bool
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    optimizer: str
    has_adapters: bool = False

    @classmethod
    def of(cls, training: HfTrainingArguments, model: torch.nn.Module) -> "MemorySettings":
        return cls(
            bf16=bool(training.bf16),
            gradient_checkpointing=bool(
                training.activation_checkpointing or training.gradient_checkpointing
            ),
            per_device_train_batch_size=training.per_device_train_batch_size,
            gradient_accumulation_steps=training.gradient_accumulation_steps,
            optimizer=OptimizerNames(training.optim).value,
            has_adapters=not all(weight.requires_grad for weight in model.parameters()),
        )


def out_of_memory_message(batch: BatchShape | None, settings: MemorySettings, said: str) -> str:
    """Why the memory did not suffice, and the settings that would help, the one that helps most
    first; `said` are the library's words.

    "the GPU's memory does not suffice for a batch of 8 pairs, 2048 source and 512 target tokens
    long (CUDA out of memory. Tried to allocate 2.00 GiB). What helps, most first:
    gradient_checkpointing=true; per_device_train_batch_size=4 with gradient_accumulation_steps=2;
    ..."
    """
    what = "this model" if batch is None else f"a batch of {batch}"
    return (
        f"the GPU's memory does not suffice for {what} ({_beginning(said)}). What helps, most"
        " first: " + "; ".join(_cures(batch, settings))
    )


def _beginning(said: str) -> str:
    return said.strip().partition("\n")[0][:_MAX_SAID_CHARACTERS]


def _cures(batch: BatchShape | None, settings: MemorySettings) -> Iterator[str]:
    if not settings.gradient_checkpointing:
        yield "gradient_checkpointing=true"
    if not settings.bf16:
        yield "bf16=true"
    if settings.per_device_train_batch_size > 1:
        # The same pairs per optimizer step, or a few more where the size is odd.
        size = settings.per_device_train_batch_size // 2
        steps = -(-settings.per_device_train_batch_size // size)
        yield (
            f"per_device_train_batch_size={size} with gradient_accumulation_steps="
            f"{settings.gradient_accumulation_steps * steps}"
        )
    if batch is not None:
        longest = max(batch.source_length, batch.target_length)
        yield f"a model_max_length well below {longest}"
    else:
        yield "a smaller model_max_length"
    if not settings.has_adapters:
        if "adafactor" not in settings.optimizer:
            yield "optim=adafactor"
        yield "LoRA"
    yield "a smaller model or a larger GPU"


@contextmanager
def explaining_out_of_memory(
    training: HfTrainingArguments,
    model: torch.nn.Module,
    *,
    batch: Callable[[], Mapping[str, torch.Tensor] | None],
) -> Iterator[None]:
    """Around the steps of a training. When the GPU's memory does not suffice, a TrainingError says
    so with the `batch` of that moment; any other error passes."""
    try:
        yield
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        found = batch()
        message = out_of_memory_message(
            None if found is None else BatchShape.of(found),
            MemorySettings.of(training, model),
            str(error),
        )
        raise TrainingError(
            FailureCode.CUDA_OOM, message, param="per_device_train_batch_size"
        ) from error


@contextmanager
def explaining_evaluation_out_of_memory(training: HfTrainingArguments) -> Iterator[None]:
    """As `explaining_out_of_memory`, around an evaluation, which has a batch size of its own."""
    try:
        yield
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        raise TrainingError(
            FailureCode.CUDA_OOM,
            "the GPU's memory does not suffice to evaluate"
            f" {training.per_device_eval_batch_size} pairs at a time ({_beginning(str(error))});"
            " expected a per_device_eval_batch_size that fits",
            param="per_device_eval_batch_size",
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """False for one that is explained already."""
    is_explained = isinstance(error, TrainingError)
    return not is_explained and failure_code(error) is FailureCode.CUDA_OOM
