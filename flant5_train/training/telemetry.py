"""Measurements of a run for the progress log: counts of logged steps, and memory.

The counts are tokens, padding and work. Counting does not wait for a device. The memory estimate
comes from the run's arguments.

Shapes: B rows, L positions of a row, N pairs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from transformers.training_args import OptimizerNames

from flant5_train.arguments import Arguments
from flant5_train.batching.plan import RunPlan
from flant5_train.estimates.flops import FlopCounts, ModelShape, peak_flops
from flant5_train.estimates.memory import MicroBatch, Setup
from flant5_train.estimates.memory_plan import plan_memory
from flant5_train.models.loss import IGNORED
from flant5_train.protocol.progress import MemoryPlanned

Batch = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Trained:
    """Useful work of trained batches, and the tensor positions that it took."""

    work: FlopCounts
    source_places: int
    target_places: int

    @classmethod
    def of(cls, counts: torch.Tensor) -> Self:
        """Converts counts of `counts_of`, or a sum of them. Waits for their device."""
        *work, source_places, target_places = counts.tolist()
        return cls(FlopCounts(*work), source_places, target_places)

    @property
    def num_tokens(self) -> int:
        return self.work.sources + self.work.targets

    @property
    def source_fill(self) -> float:
        """Share of the encoder positions that hold a token of a pair."""
        return self.work.sources / max(1, self.source_places)

    @property
    def target_fill(self) -> float:
        return self.work.targets / max(1, self.target_places)


class Counter:
    """Accumulates counts of batches."""

    def __init__(self) -> None:
        self._counts = _no_counts()

    def add(self, batch: Batch) -> None:
        counts = counts_of(batch)
        self._counts = self._counts.to(counts.device) + counts

    def take(self, total: Callable[[torch.Tensor], torch.Tensor]) -> Trained:
        """Returns and resets the counts of all processes, over which `total` sums a tensor."""
        counts, self._counts = self._counts, _no_counts()
        return Trained.of(total(counts))


def counts_of(batch: Batch) -> torch.Tensor:
    """Returns the five sums of `FlopCounts` and the two position counts, [7], on the batch's
    device.

    A pair without labels is padding: it takes positions, but trains nothing.
    """
    source_N, target_N = _lengths(batch)
    source_N = torch.where(target_N > 0, source_N, 0)
    places = [batch[name].numel() for name in ("input_ids", "labels")]
    sums = (source_N, target_N, source_N**2, target_N**2, source_N * target_N)
    return torch.cat(
        [torch.stack([each.sum() for each in sums]), torch.tensor(places, device=source_N.device)]
    )


def _lengths(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    is_label_BL = batch["labels"] != IGNORED
    if "source_segments" not in batch:
        return batch["attention_mask"].sum(1), is_label_BL.sum(1)
    num_segments = batch["source_segments"].shape[1]  # upper bound per row
    every = torch.ones_like(batch["source_segments"])
    return (
        _segment_lengths(batch["source_segments"], every, num_segments),
        _segment_lengths(batch["target_segments"], is_label_BL, num_segments),
    )


def _segment_lengths(
    segments_BL: torch.Tensor, counted_BL: torch.Tensor, num_segments: int
) -> torch.Tensor:
    """Returns the lengths of segments 1, 2, ... of all rows, row by row; 0 is padding."""
    lengths_BN = segments_BL.new_zeros((len(segments_BL), num_segments + 1), dtype=torch.int64)
    lengths_BN.scatter_add_(1, segments_BL.long(), counted_BL.long())
    return lengths_BN[:, 1:].flatten()


def _no_counts() -> torch.Tensor:
    return torch.zeros(7, dtype=torch.int64)


def device_peak_flops(device: torch.device) -> float | None:
    """Returns the peak FLOPS of one GPU; None for a CPU or an unknown GPU."""
    return peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def take_peak_memory(device: torch.device) -> int | None:
    """Returns the peak tensor memory on the GPU since the last call; None on a CPU."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return peak


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
