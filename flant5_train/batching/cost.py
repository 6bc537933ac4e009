"""Token capacity of micro-batches, and their training cost.

The estimated cost of a pair balances the load between processes. A `TokenCounts` maps micro-batches
to their work and to the tokens that the model processes, including padding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flant5_train.batching.types import MicroBatches
from flant5_train.data.pairs import PairLengths

_ROW_UNIT = 128
"""Block size of block masks, in tokens. Packed rows are multiples of it."""


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """Limits of a micro-batch's source and target side, in tokens."""

    source: int
    target: int

    def scaled(self, factor: float) -> "TokenBudget":
        return TokenBudget(int(self.source * factor), int(self.target * factor))


def mean_capacity(lengths: PairLengths, *, num_pairs: int) -> TokenBudget:
    """Returns the capacity for `num_pairs` pairs of mean length. It is at least that of the longest
    source and target."""
    return TokenBudget(
        max(_room(int(lengths.source.sum()), num_pairs, len(lengths)), int(lengths.source.max())),
        max(_room(int(lengths.target.sum()), num_pairs, len(lengths)), int(lengths.target.max())),
    )


def row_capacity(lengths: PairLengths, *, num_pairs: int) -> TokenBudget:
    """Returns `mean_capacity` rounded to blocks of 128 tokens.

    The smaller side is rounded up, and the larger side is scaled with it: both hold the same number
    of mean pairs. If both were rounded independently, one side would fill up first and part of the
    other would stay empty (up to 5 % at 2,300 tokens).
    """
    room = mean_capacity(lengths, num_pairs=num_pairs)
    longest_source, longest_target = int(lengths.source.max()), int(lengths.target.max())
    if room.target <= room.source:
        target = _blocks(room.target)
        source = _following(room.source * target, room.target, at_least=longest_source)
    else:
        source = _blocks(room.source)
        target = _following(room.target * source, room.source, at_least=longest_target)
    return TokenBudget(source, target)


def _room(num_tokens: int, num_pairs: int, of: int) -> int:
    return -(-num_tokens * num_pairs // of)


def _blocks(num_tokens: int) -> int:
    return -(-num_tokens // _ROW_UNIT) * _ROW_UNIT


def _following(product: int, other: int, *, at_least: int) -> int:
    return max(round(product / other / _ROW_UNIT) * _ROW_UNIT, _blocks(at_least))


Cost = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
"""Maps source lengths [N] and target lengths [N] to the work of each pair [N], in any unit.

Integers only: sums of floats may differ in the last bit between machines, and processes that sort
by them would plan different batches.
"""


def estimated_cost(source: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the work of each pair, in ten-thousandths of an encoder token.

    A decoder token costs about 1.2 encoder tokens, since it attends twice. Attention grows with the
    square of the length: for a Flan-T5 XL it adds about a fifth at 2,048 tokens.
    """
    tokens = 10_000 * source + 12_000 * target
    attention = source**2 + source * target + target**2 // 2
    return tokens + attention


class TokenCounts(Protocol):
    """Cost model of a batching method. Shapes: K micro-batches."""

    def costs(self, batches: MicroBatches) -> NDArray[np.int64]:
        """Returns the work of each micro-batch, [K]; 0 if it is empty."""

    def tokens(self, batches: MicroBatches) -> PairLengths:
        """Returns the tokens of each micro-batch on both sides, [K], including padding; 0 if it is
        empty."""


@dataclass(frozen=True, slots=True)
class PaddedTokenCounts:
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
class PackedTokenCounts:
    """Cost of packed batches: pairs are concatenated in a row of fixed length, and attention stays
    inside each pair."""

    lengths: PairLengths
    cost: Cost
    capacity: TokenBudget

    def costs(self, batches: MicroBatches) -> NDArray[np.int64]:
        pairs = self.lengths.of(batches.pairs)
        so_far = np.concatenate([[0], np.cumsum(self.cost(pairs.source, pairs.target))])
        return np.diff(so_far[batches.offsets])

    def tokens(self, batches: MicroBatches) -> PairLengths:
        rows = np.minimum(batches.sizes, 1)
        return PairLengths(rows * self.capacity.source, rows * self.capacity.target)
