"""Batch plan and data loader of a run. Each process loads only its own micro-batches.

`planned_batches` makes the plan from the run's arguments and data. `memory_dry_run` is a memory dry
run: the largest batch runs first, so an out-of-memory error comes within a minute.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from flant5_train.arguments import TrainingArguments
from flant5_train.batching.plan import PlanSettings, RunPlan
from flant5_train.batching.schedule import StepShape
from flant5_train.data.collator import DataCollatorForSupervisedDataset, PackedCollator
from flant5_train.data.dataset import SupervisedDataset
from flant5_train.models.loss import IGNORED
from flant5_train.protocol.progress import BatchesPlanned, LargestMicroBatch

Example = dict[str, torch.Tensor]

_FILLER = -1


class PairDataset(Protocol):
    """Examples by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


class PairsAndPadding(Dataset[Example]):
    """Dataset of the pairs, with a filler at index -1: a pair whose labels carry no loss and
    therefore no gradient."""

    def __init__(self, pairs: PairDataset, *, padding: int) -> None:
        self._pairs = pairs
        self._padding = padding

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Example:
        if index != _FILLER:
            return self._pairs[index]
        pair = self._pairs[self._padding]
        return pair | {"labels": torch.full_like(pair["labels"], IGNORED)}


class ShardSampler(Sampler[list[int]]):
    """Sampler of one process's micro-batches in the epoch set by `set_epoch`."""

    def __init__(self, plan: RunPlan, *, process: int) -> None:
        self._plan = plan
        self._process = process
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._plan.num_micro_batches // self._plan.settings.shape.num_processes

    def __iter__(self) -> Iterator[list[int]]:
        for pairs in self._plan.share(self._epoch, process=self._process):
            yield pairs.tolist() or [_FILLER]


@dataclass(frozen=True, slots=True)
class TrainingBatches:
    """Training data of a run, as tensors."""

    plan: RunPlan
    pairs: PairDataset
    """One pair for each of the plan's lengths."""
    collate: Callable[[Sequence[Example]], dict[str, torch.Tensor]]

    def share(self, process: int) -> ShardSampler:
        return ShardSampler(self.plan, process=process)

    def loader(self, share: ShardSampler, **how: Any) -> DataLoader[Example]:
        """Returns a data loader; `how` is passed to torch's DataLoader (number of workers etc.)."""
        return DataLoader(
            PairsAndPadding(self.pairs, padding=self.plan.lengths.shortest),
            batch_sampler=share,
            collate_fn=self.collate,
            # Without its own generator it would draw from the global one, and dropout would differ
            # after a resume.
            generator=torch.Generator(),
            **how,
        )

    def largest(self) -> dict[str, torch.Tensor]:
        """Returns the micro-batch with the most work, as tensors."""
        return self.collate([self.pairs[pair] for pair in self.plan.largest.pairs])


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
    plan_report, largest = plan.report(), plan.largest
    return BatchesPlanned(
        batching=plan_report.batching,
        num_steps=plan_report.num_steps,
        num_micro_batches=plan_report.num_micro_batches,
        source_fill=plan_report.source_fill,
        target_fill=plan_report.target_fill,
        straggler=plan_report.straggler,
        largest=LargestMicroBatch(
            num_pairs=largest.num_pairs,
            longest_source=largest.longest_source,
            longest_target=largest.longest_target,
            padded_tokens=largest.padded_tokens,
        ),
    )


ADAM_STATES = 2
"""Numbers that AdamW keeps per parameter."""


def memory_dry_run(
    forward_and_backward: Callable[[nn.Module], object], model: nn.Module, *, room_for: int
) -> None:
    """Runs a micro-batch through the model without side effects: gradients are cleared, and the
    random state is restored.

    On a GPU, `room_for` float32 numbers per trained parameter are reserved meanwhile. The optimizer
    allocates them in its first step, after the first micro-batch.
    """
    parameters = [each for each in model.parameters() if each.requires_grad]
    device = parameters[0].device
    is_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        reserved = [torch.empty_like(each) for each in parameters * room_for] if is_cuda else []
        forward_and_backward(model)
        del reserved
    model.zero_grad(set_to_none=True)
