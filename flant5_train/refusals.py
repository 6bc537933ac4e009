"""Checks for arguments that the library accepts and this trainer does not support."""

from flant5_train.arguments import TrainingArguments
from flant5_train.protocol.failure import FailureCode, TrainingError


def refuse_unusable(training: TrainingArguments) -> None:
    """Raises TrainingError for `torch_compile` without packed batches on a GPU."""
    if training.compiles_blocks and (training.batching != "packed" or training.use_cpu):
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"torch_compile is on with batching={training.batching} on a"
            f" {training.device.type.upper()}, where each batch has a different shape to compile;"
            " expected batching=packed on a GPU",
            param="torch_compile",
        )
