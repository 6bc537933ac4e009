"""What a micro-batch takes: its work, and the tokens that go through the model, padding counted."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flant5_train.batches.capacity import Capacity
from flant5_train.batches.cost import Cost
from flant5_train.batches.lengths import PairLengths
from flant5_train.batches.micro_batch import MicroBatches


class Work(Protocol):
    """How micro-batches, K of them, are put through the model."""

    def costs(self, batches: MicroBatches) -> NDArray[np.int64]:
        """The work of each, [K]; 0 of an empty one."""

    def tokens(self, batches: MicroBatches) -> PairLengths:
        """Tokens of each on both sides, [K], padding counted; none in an empty one."""


@dataclass(frozen=True, slots=True)
class PaddedWork:
    """Every pair is padded to the longest of its micro-batch."""

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
    """Pairs lie one behind the other in a row of fixed length; attention stays inside each."""

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
