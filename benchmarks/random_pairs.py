"""Pairs of random tokens with given lengths, and the batches that a plan makes of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from flant5_train.batches.dealing import StepShape
from flant5_train.batches.lengths import PairLengths
from flant5_train.batches.run_plan import PlanSettings, RunPlan
from flant5_train.config import Batching
from flant5_train.flops import Work
from flant5_train.loss import IGNORED
from flant5_train.packed.collator import PackedCollator

_FIRST_TOKEN, _LAST_TOKEN = 2, 32_000
Collate = Callable[[Sequence[dict[str, torch.Tensor]]], dict[str, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch, and what is in it."""

    tensors: dict[str, torch.Tensor]
    work: Work
    num_pairs: int

    @property
    def num_tokens(self) -> int:
        """Of both sides, padding not counted."""
        return self.work.sources + self.work.targets


@dataclass(frozen=True, slots=True)
class RandomPairs:
    """Pair n has always the same tokens."""

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
        """Those of the plan's first epoch, in its order."""
        plan = self.plan(batching, num_pairs=num_pairs)
        collate = _collator(plan, device)
        for pairs in plan.share(0, process=0):
            if len(pairs):
                tensors = collate([self.pair(index) for index in pairs.tolist()])
                yield Batch(
                    {name: tensor.to(device) for name, tensor in tensors.items()},
                    Work.of(self.lengths.source[pairs], self.lengths.target[pairs]),
                    len(pairs),
                )

    def plan(self, batching: Batching, *, num_pairs: int) -> RunPlan:
        """For one process; `num_pairs` is the batch size."""
        shape = StepShape(num_processes=1, num_passes=1)
        settings = PlanSettings(batching, num_pairs, shape, num_epochs=1, max_steps=-1, seed=0)
        return RunPlan(self.lengths, settings)


def _collator(plan: RunPlan, device: torch.device) -> Collate:
    row = plan.row_capacity
    if row is None:
        return _padded
    if device.type == "cpu":
        return PackedCollator(pad_token_id=0)
    return PackedCollator(pad_token_id=0, source_capacity=row.source, target_capacity=row.target)


def _padded(pairs: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    sources = [pair["input_ids"] for pair in pairs]
    labels_BT = pad_sequence([pair["labels"] for pair in pairs], True, padding_value=IGNORED)
    decoder_BT = labels_BT.roll(1, dims=1).clamp_min(0)
    decoder_BT[:, 0] = 0
    return {
        "input_ids": pad_sequence(sources, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(each) for each in sources], True),
        "decoder_input_ids": decoder_BT,
        "labels": labels_BT,
    }
