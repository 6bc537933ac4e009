"""Cost of micro-batches: their work, and the tokens the model processes, including padding."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flant5_train.batches.cost import Cost
from flant5_train.batching.cost import Capacity
from flant5_train.batching.types import MicroBatches
from flant5_train.data.pairs import PairLengths


class Work(Protocol):
    """Cost model of a batching method. Shapes: K micro-batches."""

    def costs(self, batches: MicroBatches) -> NDArray[np.int64]:
        """Returns the work of each micro-batch, [K]; 0 if it is empty."""

    def tokens(self, batches: MicroBatches) -> PairLengths:
        """Returns the tokens of each micro-batch on both sides, [K], including padding; 0 if it is
        empty."""


@dataclass(frozen=True, slots=True)
class PaddedWork:
    """Cost of padded batches: every pair is padded to the longest of its micro-batch."""

    lengths: PairLengths
    cost: Cost

    def costs(self, batches: MicroBatches) -> NDArray[np.int64]:
        longest = batches.longest(self.lengths)
        return batches.sizes * self.cost(longest.source, longest.target)

    def tokens(self, batches: MicroBatches) -> PairLengths:
        longest = batches.longest(self.lengths)
        return PairLengths(batches.sizes * longest.source, batches.sizes * longest.target)


@dataclass(frozen=True, slots=True)
class PackedWork:
    """Cost of packed batches: pairs are concatenated in a row of fixed length, and attention stays
    inside each pair."""

    lengths: PairLengths
    cost: Cost
    capacity: Capacity

    def costs(self, batches: MicroBatches) -> NDArray[np.int64]:
        pairs = self.lengths.of(batches.pairs)
        so_far = np.concatenate([[0], np.cumsum(self.cost(pairs.source, pairs.target))])
        return np.diff(so_far[batches.offsets])

    def tokens(self, batches: MicroBatches) -> PairLengths:
        rows = np.minimum(batches.sizes, 1)
        return PairLengths(rows * self.capacity.source, rows * self.capacity.target)
