"""Forecast of a run's GPU memory."""

from flant5_train.config import Hyperparameters
from flant5_train.estimates.memory import MicroBatch, Setup, estimate_memory
from flant5_train.estimates.memory_plan import plan_memory
from flant5_train.forecast.batches import PlannedRun
from flant5_train.forecast.model import Base
from flant5_train.protocol.forecast import MemoryForecast


def setup_of(base: Base, run: PlannedRun, hyperparameters: Hyperparameters) -> Setup:
    """Returns the inputs of the memory estimate."""
    batch = MicroBatch.of(
        run.largest,
        num_pairs=hyperparameters.per_device_train_batch_size,
        batching=hyperparameters.batching,
    )
    return Setup(
        shape=base.shape,
        batch=batch,
        num_gpus=run.shape.num_processes,
        is_sharded=hyperparameters.sharding == "fsdp",
        bf16=hyperparameters.bf16,
        gradient_checkpointing=hyperparameters.gradient_checkpointing,
        optim=hyperparameters.optim,
        finetuning_type=hyperparameters.finetuning_type,
        lora_rank=hyperparameters.lora_rank,
    )


def memory_forecast(setup: Setup, *, gpu_bytes: int | None) -> MemoryForecast:
    estimate = estimate_memory(setup)
    plan = None if gpu_bytes is None else plan_memory(setup, gpu_bytes=gpu_bytes)
    return MemoryForecast(
        total_bytes=estimate.total,
        weights_bytes=estimate.weights,
        gradients_bytes=estimate.gradients,
        optimizer_bytes=estimate.optimizer,
        activations_bytes=estimate.activations,
        working_bytes=estimate.working,
        gpu_bytes=gpu_bytes,
        fits=None if plan is None else plan.fits,
        suggestions=() if plan is None else plan.suggestions,
    )
