"""Pairs of random tokens with given lengths, and their planned batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import torch

from flant5_train.batching.loader import collator_of
from flant5_train.batching.plan import PlanSettings, RunPlan
from flant5_train.batching.schedule import StepShape
from flant5_train.config import Batching
from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.data.pairs import PairLengths
from flant5_train.estimates.flops import FlopCounts

_FIRST_TOKEN, _LAST_TOKEN = 2, 32_000


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch and its contents."""

    tensors: dict[str, torch.Tensor]
    work: FlopCounts
    num_pairs: int

    @property
    def num_tokens(self) -> int:
        """Number of tokens on both sides, without padding."""
        return self.work.sources + self.work.targets


@dataclass(frozen=True, slots=True)
class RandomPairs:
    """Generates pairs; pair n always has the same tokens."""

    lengths: PairLengths
    vocab_size: int = _LAST_TOKEN

    def pair(self, index: int) -> dict[str, torch.Tensor]:
        chance = torch.Generator().manual_seed(index)
        counts = {"input_ids": self.lengths.source[index], "labels": self.lengths.target[index]}
        return {
            name: torch.randint(_FIRST_TOKEN, self.vocab_size, (int(count),), generator=chance)
            for name, count in counts.items()
        }

    def batches(
        self, batching: Batching, *, num_pairs: int, device: torch.device
    ) -> Iterator[Batch]:
        """Yields the batches of the plan's first epoch, in its order."""
        plan = self.plan(batching, num_pairs=num_pairs)
        # The collator uses only the padding id of a tokenizer.
        padding = DataCollatorForSupervisedDataset(cast(Any, SimpleNamespace(pad_token_id=0)))
        collate = collator_of(plan, padding, device)
        for pairs in plan.share(0, process=0):
            if len(pairs):
                tensors = collate([self.pair(index) for index in pairs.tolist()])
                yield Batch(
                    {name: tensor.to(device) for name, tensor in tensors.items()},
                    FlopCounts.of(self.lengths.source[pairs], self.lengths.target[pairs]),
                    len(pairs),
                )

    def plan(self, batching: Batching, *, num_pairs: int) -> RunPlan:
        """Returns the plan for one process; `num_pairs` is the batch size."""
        shape = StepShape(num_processes=1, num_passes=1)
        settings = PlanSettings(batching, num_pairs, shape, num_epochs=1, max_steps=-1, seed=0)
        return RunPlan(self.lengths, settings)
