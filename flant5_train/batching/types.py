"""Micro-batches, the pairs of one forward pass, and the summary of a batch plan.

Shapes: K micro-batches.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flant5_train.config import Batching
from flant5_train.data.pairs import LargestBatch, PairLengths

Pairs = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MicroBatches:
    """Flat list of pair numbers, and the start of each micro-batch in it: `offsets` [K + 1].

    An empty micro-batch stands for a filler: while the other processes work, this one runs a pair
    that carries no loss.
    """

    pairs: Pairs
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, groups: Iterable[Pairs]) -> "MicroBatches":
        """Returns micro-batches from the pairs of each."""
        listed = [*groups]
        sizes = [len(group) for group in listed]
        pairs = np.concatenate(listed) if listed else np.empty(0)
        return cls(pairs.astype(np.int64), np.cumsum([0, *sizes], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Pairs:
        return self.pairs[self.offsets[index] : self.offsets[index + 1]]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of pairs in each micro-batch, [K]."""
        return np.diff(self.offsets)

    def ordered(self, order: Sequence[int] | NDArray[np.int64]) -> "MicroBatches":
        """Returns the same micro-batches in another order."""
        return MicroBatches.of(self[int(index)] for index in order)

    def longest(self, lengths: PairLengths) -> PairLengths:
        """Returns the longest source and target of each micro-batch, [K]; 0 if it is empty."""
        return PairLengths(
            self._maximum(lengths.source[self.pairs]), self._maximum(lengths.target[self.pairs])
        )

    def _maximum(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        result = np.zeros(len(self), np.int64)
        is_full = self.sizes > 0
        if is_full.any():
            # `reduceat` has no result for empty micro-batches.
            result[is_full] = np.maximum.reduceat(values, self.offsets[:-1][is_full])
        return result


@dataclass(frozen=True, slots=True)
class PlanReport:
    """Figures of a plan, taken from the first epoch where epochs differ."""

    batching: Batching
    num_steps: int
    """Optimizer steps of the run."""
    num_micro_batches: int
    """Micro-batches of an epoch, over all processes."""
    source_fill: float
    """Share of the encoder's positions that hold a token; the rest is padding."""
    target_fill: float
    """Share of the decoder's positions that hold a token; the rest is padding."""
    straggler: float
    """Mean over largest work of concurrent processes: 1 when none waits for another."""
    largest: LargestBatch
