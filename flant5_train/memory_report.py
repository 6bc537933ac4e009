"""Memory estimate of a run from its arguments, for the progress log."""

from typing import Any

from transformers.training_args import OptimizerNames

from flant5_train.arguments import Arguments
from flant5_train.batching.plan import RunPlan
from flant5_train.estimates.flops import ModelShape
from flant5_train.estimates.memory import MicroBatch, Setup
from flant5_train.estimates.memory_plan import plan_memory
from flant5_train.protocol.progress import MemoryPlanned


def memory_planned(
    arguments: Arguments, *, config: Any, batches: RunPlan, gpu_bytes: int
) -> MemoryPlanned:
    """Returns the memory record of a run on GPUs with `gpu_bytes` each.

    `config` is the model's.
    """
    plan = plan_memory(setup_of(arguments, config=config, batches=batches), gpu_bytes=gpu_bytes)
    estimate = plan.estimate
    return MemoryPlanned(
        fits=plan.fits,
        message=plan.sentence(),
        gpu_bytes=gpu_bytes,
        total_bytes=estimate.total,
        weights_bytes=estimate.weights,
        gradients_bytes=estimate.gradients,
        optimizer_bytes=estimate.optimizer,
        activations_bytes=estimate.activations,
        working_bytes=estimate.working,
        suggestions=plan.suggestions,
    )


def setup_of(arguments: Arguments, *, config: Any, batches: RunPlan) -> Setup:
    """Returns the settings that determine the memory of this run."""
    training = arguments.training
    batch = MicroBatch.of(
        batches.largest,
        num_pairs=training.per_device_train_batch_size,
        batching=training.batching,
    )
    return Setup(
        shape=ModelShape.of(config),
        batch=batch,
        num_gpus=training.world_size,
        is_sharded=training.sharding == "fsdp",
        bf16=bool(training.bf16),
        gradient_checkpointing=bool(training.activation_checkpointing),
        optim=OptimizerNames(training.optim).value,
        finetuning_type=arguments.model.finetuning_type,
        lora_rank=arguments.model.lora_rank,
    )
