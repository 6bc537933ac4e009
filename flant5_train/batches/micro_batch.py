"""Micro-batches: which pairs go through the model in one forward pass. K micro-batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flant5_train.batches.lengths import PairLengths

Pairs = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MicroBatches:
    """Numbers of pairs, flat, and where each micro-batch begins: [K + 1] `offsets`.

    An empty micro-batch stands for a filler: a process that has nothing to do while the others have
    runs a pair that carries no loss.
    """

    pairs: Pairs
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, groups: Iterable[Pairs]) -> "MicroBatches":
        """From the pairs of each micro-batch."""
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
        """Pairs of each, [K]."""
        return np.diff(self.offsets)

    def ordered(self, order: Sequence[int] | NDArray[np.int64]) -> "MicroBatches":
        """The same micro-batches in another order."""
        return MicroBatches.of(self[int(index)] for index in order)

    def longest(self, lengths: PairLengths) -> PairLengths:
        """The longest source and the longest target of each, [K]; 0 of an empty one."""
        return PairLengths(
            self._maximum(lengths.source[self.pairs]), self._maximum(lengths.target[self.pairs])
        )

    def _maximum(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        result = np.zeros(len(self), np.int64)
        is_full = self.sizes > 0
        if is_full.any():
            # Without the empty ones, which `reduceat` has no result for.
            result[is_full] = np.maximum.reduceat(values, self.offsets[:-1][is_full])
        return result
