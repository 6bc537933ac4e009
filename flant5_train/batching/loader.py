"""Data loader for a batch plan: each process loads only its own micro-batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from flant5_train.batching.plan import RunPlan
from flant5_train.models.loss import IGNORED

Example = dict[str, torch.Tensor]

_FILLER = -1


class Pairs(Protocol):
    """Examples by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


class PairsAndFiller(Dataset[Example]):
    """Dataset of the pairs, with a filler at index -1: a pair whose labels carry no loss and
    therefore no gradient."""

    def __init__(self, pairs: Pairs, *, filler: int) -> None:
        self._pairs = pairs
        self._filler = filler

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Example:
        if index != _FILLER:
            return self._pairs[index]
        pair = self._pairs[self._filler]
        return pair | {"labels": torch.full_like(pair["labels"], IGNORED)}


class Share(Sampler[list[int]]):
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
    pairs: Pairs
    """One pair for each of the plan's lengths."""
    collate: Callable[[Sequence[Example]], dict[str, torch.Tensor]]

    def share(self, process: int) -> Share:
        return Share(self.plan, process=process)

    def loader(self, share: Share, **how: Any) -> DataLoader[Example]:
        """Returns a data loader; `how` is passed to torch's DataLoader (number of workers etc.)."""
        return DataLoader(
            PairsAndFiller(self.pairs, filler=self.plan.lengths.shortest),
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
