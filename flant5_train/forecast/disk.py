"""Forecast of a run's disk usage: checkpoints and the final model."""

from flant5_train.config import Hyperparameters
from flant5_train.estimates.checkpoint import (
    low_rank_shapes,
    num_numbers,
    optimizer_state_bytes,
    weight_shapes,
)
from flant5_train.forecast.model import Base
from flant5_train.protocol.forecast import DiskForecast
from flant5_train.small_files import small_files_bytes

_FLOAT32_BYTES = 4


def disk_forecast(base: Base, hyperparameters: Hyperparameters, *, num_steps: int) -> DiskForecast:
    """Returns an upper bound: the best checkpoint may or may not be one of the newest."""
    trained = trained_shapes(base, hyperparameters)
    num_logs = num_steps // hyperparameters.logging_steps + num_steps // hyperparameters.eval_steps
    small = small_files_bytes(base.shape.vocab_size, num_logs=num_logs)
    trained_bytes = _FLOAT32_BYTES * num_numbers(trained)
    checkpoint = trained_bytes + optimizer_state_bytes(trained, hyperparameters.optim) + small
    model = _FLOAT32_BYTES * num_numbers(weight_shapes(base.shape)) + small
    if hyperparameters.finetuning_type != "full":
        model += trained_bytes  # adapter/
    num_kept, num_most = _num_checkpoints(hyperparameters, num_steps=num_steps)
    return DiskForecast(
        checkpoint_bytes=checkpoint,
        model_bytes=model,
        num_checkpoints=num_most,
        peak_bytes=num_most * checkpoint + model,
        kept_bytes=num_kept * checkpoint + model,
    )


def trained_shapes(base: Base, hyperparameters: Hyperparameters) -> list[tuple[int, ...]]:
    """Returns the shapes of the tensors in a checkpoint. With adapters this includes the rows of
    new tokens, in the embedding and in the output layer."""
    if hyperparameters.finetuning_type == "full":
        return weight_shapes(base.shape)
    rows = (base.num_new_tokens, base.shape.d_model)
    return [*low_rank_shapes(base.shape, rank=hyperparameters.lora_rank), rows, rows]


def _num_checkpoints(hyperparameters: Hyperparameters, *, num_steps: int) -> tuple[int, int]:
    """Returns how many checkpoints remain, and the maximum at any time: an old one is deleted after
    the new one is complete."""
    made = -(-num_steps // hyperparameters.save_steps)
    kept = hyperparameters.save_total_limit
    if hyperparameters.load_best_model_at_end:
        made += num_steps // hyperparameters.eval_steps
        kept += 1
    return min(made, kept), min(made, kept + 1)
