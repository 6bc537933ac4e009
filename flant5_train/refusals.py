"""Arguments that the library takes and a run of ours can't follow."""

from flant5_train.arguments import TrainingArguments
from flant5_train.failure import FailureCode, TrainingError


def refuse_unusable(training: TrainingArguments) -> None:
    """Raises TrainingError."""
    if training.fp16:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            "fp16 is on, but T5 overflows in float16; expected bf16 or neither",
            param="fp16",
        )
    if training.train_sampling_strategy != "random" or training.dataloader_drop_last:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            "train_sampling_strategy or dataloader_drop_last is set, but batches are planned"
            " here; expected `batching`: padded, bucketed or packed",
            param="batching",
        )
    if training.compiles_blocks and (training.batching != "packed" or training.use_cpu):
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"torch_compile is on with batching={training.batching} on a"
            f" {training.device.type.upper()}, where each batch has a shape of its own to compile"
            " for; expected batching=packed on a GPU",
            param="torch_compile",
        )
