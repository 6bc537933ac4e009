"""Forecast of a run's batches, of their work, and of the GPU memory.

It uses the same plan that the run will make.
"""

from dataclasses import dataclass, replace

from flant5_train.batching.plan import PlanSettings, RunPlan
from flant5_train.batching.schedule import StepShape
from flant5_train.config import Hyperparameters
from flant5_train.data.pairs import LargestBatch, PairLengths
from flant5_train.estimates.flops import FlopCounts
from flant5_train.estimates.memory import MicroBatch, Setup, estimate_memory
from flant5_train.estimates.memory_plan import plan_memory
from flant5_train.forecast.model import Base
from flant5_train.protocol.forecast import BatchesForecast, LargestForecast, MemoryForecast

_MAX_EPOCHS = 100
"""Epochs searched for the largest padded batch. A run searches all epochs."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """Plan of a run, with its largest micro-batch and its total work."""

    plan: RunPlan
    shape: StepShape
    largest: LargestBatch
    work: FlopCounts
    """Work of the whole run."""

    @classmethod
    def of(
        cls, lengths: PairLengths, hyperparameters: Hyperparameters, *, seed: int
    ) -> "PlannedRun":
        """Returns the plan for pairs with these lengths after truncation; at least one pair."""
        shape = StepShape(
            hyperparameters.num_gpus * hyperparameters.num_nodes,
            hyperparameters.gradient_accumulation_steps,
        )
        settings = PlanSettings(
            batching=hyperparameters.batching,
            num_pairs=hyperparameters.per_device_train_batch_size,
            shape=_no_emptier(shape, len(lengths)),
            num_epochs=hyperparameters.num_train_epochs,
            max_steps=hyperparameters.max_steps,
            seed=seed,
        )
        plan = RunPlan(lengths, settings)
        looked_at = plan
        if settings.batching == "padded" and plan.num_steps > _MAX_EPOCHS * plan.steps_per_epoch:
            few_epochs = replace(settings, max_steps=-1, num_epochs=_MAX_EPOCHS)
            looked_at = RunPlan(lengths, few_epochs)
        return cls(plan, shape, looked_at.largest, _work(plan))

    def forecast(self) -> BatchesForecast:
        plan, largest = self.plan, self.largest
        source_fill, target_fill = plan.packing_efficiency()
        return BatchesForecast(
            steps_per_epoch=plan.steps_per_epoch,
            num_steps=plan.num_steps,
            num_epochs=plan.num_steps / plan.steps_per_epoch,
            micro_batches_per_epoch=plan.steps_per_epoch * self.shape.num_micro_batches,
            pairs_per_step=len(plan.lengths) / plan.steps_per_epoch,
            source_fill=source_fill,
            target_fill=target_fill,
            source_tokens=self.work.sources,
            target_tokens=self.work.targets,
            largest=LargestForecast(
                num_pairs=largest.num_pairs,
                longest_source=largest.longest_source,
                longest_target=largest.longest_target,
                source_places=largest.source_places,
                target_places=largest.target_places,
            ),
        )


def _no_emptier(shape: StepShape, num_pairs: int) -> StepShape:
    """Returns the shape, limited to a step that holds all micro-batches of an epoch.

    More would stay empty. Without this, a step could be set to 16 million micro-batches.
    """
    most = num_pairs + num_pairs // 1000  # see GroupedEpochs
    num_processes = min(shape.num_processes, most)
    return StepShape(num_processes, min(shape.num_passes, -(-most // num_processes)))


def _work(plan: RunPlan) -> FlopCounts:
    """Returns the work of all steps. Each epoch is all pairs once; the last may be partial."""
    num_whole, num_steps_left = divmod(plan.num_steps, plan.steps_per_epoch)
    whole = _work_of(plan.lengths).scaled(num_whole)
    if not num_steps_left:
        return whole
    batches = plan.micro_batches(num_whole)
    num_batches = num_steps_left * plan.settings.shape.num_micro_batches
    return whole + _work_of(plan.lengths.of(batches.pairs[: batches.offsets[num_batches]]))


def _work_of(lengths: PairLengths) -> FlopCounts:
    source, target = lengths.source, lengths.target
    return FlopCounts(
        sources=int(source.sum()),
        targets=int(target.sum()),
        squared_sources=int((source**2).sum()),
        squared_targets=int((target**2).sum()),
        products=int((source * target).sum()),
    )


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
