"""Explains GPU out-of-memory errors: the batch, and the settings that would help most."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import TrainingArguments as HfTrainingArguments
from transformers.training_args import OptimizerNames

from flant5_train.protocol.failure import FailureCode, TrainingError, failure_code

_MAX_SAID_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Shape of a forward pass: number of pairs, and tokens of the longest source and target. For
    packed pairs, the lengths are those of the whole row."""

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
    """Settings that determine the memory of a step."""

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


def out_of_memory_message(
    batch: BatchShape | None, settings: MemorySettings, error_text: str
) -> str:
    """Returns the error message, with the most effective settings first; `error_text` is the
    library's message.
    """
    what = "this model" if batch is None else f"a batch of {batch}"
    return (
        f"the GPU has too little memory for {what} ({_beginning(error_text)}). Remedies, "
        "most effective first: " + "; ".join(_cures(batch, settings))
    )


def _beginning(error_text: str) -> str:
    return error_text.strip().partition("\n")[0][:_MAX_SAID_CHARACTERS]


def _cures(batch: BatchShape | None, settings: MemorySettings) -> Iterator[str]:
    if not settings.gradient_checkpointing:
        yield "gradient_checkpointing=true"
    if not settings.bf16:
        yield "bf16=true"
    if settings.per_device_train_batch_size > 1:
        # The same number of pairs per optimizer step, or a few more if the size is odd.
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
    """Converts GPU out-of-memory errors in training steps to TrainingError, with the current
    `batch`. Other errors pass."""
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
    """Converts GPU out-of-memory errors in an evaluation, which has its own batch size."""
    try:
        yield
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        raise TrainingError(
            FailureCode.CUDA_OOM,
            "the GPU has too little memory to evaluate"
            f" {training.per_device_eval_batch_size} pairs at a time ({_beginning(str(error))});"
            " expected a smaller per_device_eval_batch_size",
            param="per_device_eval_batch_size",
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Returns True for an out-of-memory error that is not explained yet."""
    is_explained = isinstance(error, TrainingError)
    return not is_explained and failure_code(error) is FailureCode.CUDA_OOM
