"""Batch plan of a run, from its arguments and data."""

from collections.abc import Callable, Sequence

import torch

from flant5_train.arguments import TrainingArguments
from flant5_train.batches.dealing import StepShape
from flant5_train.batching.loader import Example, TrainingBatches
from flant5_train.batching.plan import PlanSettings, RunPlan
from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.data.dataset import SupervisedDataset
from flant5_train.packed.collator import PackedCollator
from flant5_train.protocol.progress import BatchesPlanned, LargestMicroBatch

Collate = Callable[[Sequence[Example]], dict[str, torch.Tensor]]


def planned_batches(
    pairs: SupervisedDataset,
    collator: DataCollatorForSupervisedDataset,
    training: TrainingArguments,
) -> TrainingBatches:
    """Returns the training batches of a run; `collator` is the one for padded batches."""
    settings = PlanSettings(
        batching=training.batching,
        num_pairs=training.train_batch_size,
        shape=StepShape(training.world_size, training.gradient_accumulation_steps),
        num_epochs=training.num_train_epochs,
        max_steps=training.max_steps,
        seed=training.seed,
    )
    plan = RunPlan(pairs.lengths(), settings)
    return TrainingBatches(plan, pairs, collator_of(plan, collator, training.device))


def collator_of(
    plan: RunPlan, padding: DataCollatorForSupervisedDataset, device: torch.device
) -> Collate:
    """Returns the collator for the plan's micro-batches; `padding` unless they are packed."""
    row = plan.row_capacity
    if row is None:
        return padding
    pad = padding.tokenizer.pad_token_id
    assert isinstance(pad, int), "a T5 tokenizer has a padding token"
    if device.type == "cpu":
        # The CPU kernel computes each pair separately: padding the row would only cost time.
        return PackedCollator(pad_token_id=pad)
    return PackedCollator(pad_token_id=pad, source_capacity=row.source, target_capacity=row.target)


def record_of(plan: RunPlan) -> BatchesPlanned:
    """Returns the progress record of a plan."""
    told, largest = plan.report(), plan.largest
    return BatchesPlanned(
        batching=told.batching,
        num_steps=told.num_steps,
        num_micro_batches=told.num_micro_batches,
        source_fill=told.source_fill,
        target_fill=told.target_fill,
        straggler=told.straggler,
        largest=LargestMicroBatch(
            num_pairs=largest.num_pairs,
            longest_source=largest.longest_source,
            longest_target=largest.longest_target,
            padded_tokens=largest.padded_tokens,
        ),
    )
