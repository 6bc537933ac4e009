"""Batching strategies: padded, bucketed and packed micro-batches.

- Padded: pairs in random order. This is the usual way, and the baseline for the others.
- Bucketed: pairs of similar source and target length, under a token budget.
- Packed: the packer fills a source row and a target row of fixed length at the same time.
"""

import numpy as np
from numpy.typing import NDArray

from flant5_train.batching.cost import TokenBudget
from flant5_train.batching.types import MicroBatches, Pairs
from flant5_train.data.pairs import PairLengths


def padded_batches(order: Pairs, *, num_pairs: int, per_step: int) -> MicroBatches:
    """Returns micro-batches of `num_pairs` pairs in the given order, `per_step` for each optimizer
    step.

    The remaining pairs are shared out evenly in the last step. The pairs of a step depend only on
    `num_pairs * per_step`, not on how the step is split into processes and passes.

    order 4 2 0 3 1, num_pairs 1, per_step 2  ->  [4] [2] | [0] [3] | [1] []
    """
    num_steps, num_left = divmod(len(order), num_pairs * per_step)
    sizes = [num_pairs] * (num_steps * per_step)
    if num_left:
        sizes += [len(part) for part in np.array_split(order[:num_left], per_step)]
    return MicroBatches(order, np.cumsum([0, *sizes], dtype=np.int64))


_WINDOW = 4000
"""Pairs that are grouped by length at a time. A larger window means less padding, but more similar
micro-batches from epoch to epoch."""


def bucketed_batches(order: Pairs, lengths: PairLengths, capacity: TokenBudget) -> MicroBatches:
    """Returns micro-batches of B pairs with B x longest source and B x longest target within the
    capacity.

    Windows of the order are cut into strips of similar source length, and each strip is sorted by
    target length. A micro-batch ends where the capacity is reached.
    """
    groups: list[Pairs] = []
    for first in range(0, len(order), _WINDOW):
        window = order[first : first + _WINDOW]
        walk = window[_walk(lengths.of(window), capacity)]
        groups += np.split(walk, _cuts(lengths.of(walk), capacity))
    return MicroBatches.of(groups)


def _walk(lengths: PairLengths, capacity: TokenBudget) -> NDArray[np.int64]:
    """Returns an order in which neighbours are similar: a zigzag through strips of source lengths,
    by rising target in one strip and falling target in the next."""
    pairs_each = min(
        capacity.source / lengths.source.mean(), capacity.target / lengths.target.mean()
    )
    num_batches = len(lengths) / max(1.0, pairs_each)
    by_source = np.argsort(-lengths.source, kind="stable")
    strips = np.array_split(by_source, max(1, round(num_batches**0.5)))
    return np.concatenate(
        [
            strip[np.argsort(lengths.target[strip] * (1 if number % 2 else -1), kind="stable")]
            for number, strip in enumerate(strips)
        ]
    )


def _cuts(lengths: PairLengths, capacity: TokenBudget) -> list[int]:
    """Returns the starts of the micro-batches, except for the first."""
    cuts: list[int] = []
    first = longest_source = longest_target = 0
    sides = zip(lengths.source.tolist(), lengths.target.tolist(), strict=True)
    for index, (source, target) in enumerate(sides):
        longest_source = max(longest_source, source)
        longest_target = max(longest_target, target)
        count = index - first + 1
        if count * longest_source > capacity.source or count * longest_target > capacity.target:
            cuts.append(index)
            first, longest_source, longest_target = index, source, target
    return cuts


def capacity_for(lengths: PairLengths, capacity: TokenBudget, *, num_pairs: int) -> TokenBudget:
    """Returns the capacity times 1, 1.1, ... 2: the smallest that gives micro-batches of at least
    `num_pairs` on average. At factor 1 they may hold fewer, since a long source with a short target
    fills one side only, and vice versa."""
    order = np.random.default_rng(0).permutation(len(lengths))
    for tenths in range(10, 20):
        grown = capacity.scaled(tenths / 10)
        if len(bucketed_batches(order, lengths, grown)) * num_pairs <= len(lengths):
            return grown
    return capacity.scaled(2)


_PACKING_WINDOW = 2000
"""Number of pairs that are packed at a time."""
_LEFT_FOR_THE_NEXT = 300
"""Pairs carried over to the next window. Without this, the last rows of a window would be poorly
filled."""
_BALANCE = 2.0
"""Weight of an equal rest on both sides, relative to a small rest."""


def packed_batches(order: Pairs, lengths: PairLengths, capacity: TokenBudget) -> MicroBatches:
    """Returns micro-batches whose sources and targets each sum up to at most their capacity. No
    pair may exceed it."""
    groups: list[Pairs] = []
    left = order[:0]
    for first in range(0, len(order), _PACKING_WINDOW):
        pool = np.concatenate([left, order[first : first + _PACKING_WINDOW]])
        is_last = first + _PACKING_WINDOW >= len(order)
        window = _Window(lengths.of(pool), capacity)
        while window.num_left > (0 if is_last else _LEFT_FOR_THE_NEXT):
            groups.append(pool[window.take_row()])
        left = pool[window.left()]
    return MicroBatches.of(groups)


class _Window:
    """Pairs to pack. Each row starts with the largest pair. Then it repeatedly takes the pair that
    leaves the least space, with equal shares on both sides.

    Lengths are measured in shares of the capacity, which are comparable between both sides: a
    source token counts as many shares as the target capacity has tokens, and vice versa. They are
    whole numbers in float64, so every machine packs alike.
    """

    def __init__(self, lengths: PairLengths, capacity: TokenBudget) -> None:
        self._full = float(capacity.source * capacity.target)
        self._source = lengths.source * float(capacity.target)
        self._target = lengths.target * float(capacity.source)
        self._sum = self._source + self._target
        self._difference = self._source - self._target
        largest_first = np.argsort(-np.maximum(self._source, self._target), kind="stable")
        self._largest_first = iter(largest_first.tolist())
        self._is_left = np.ones(len(lengths), bool)
        self._score = np.empty(len(lengths))
        self._too_long = np.empty((2, len(lengths)), bool)
        self.num_left = len(lengths)

    def left(self) -> NDArray[np.int64]:
        return np.flatnonzero(self._is_left)

    def take_row(self) -> list[int]:
        """Removes the pairs of the next row from the window and returns their positions."""
        chosen: int | None = next(place for place in self._largest_first if self._is_left[place])
        row: list[int] = []
        source_room = target_room = self._full
        while chosen is not None:
            row.append(chosen)
            source_room -= self._source[chosen]
            target_room -= self._target[chosen]
            self._is_left[chosen] = False
            # An infinite length keeps it from being chosen again.
            self._source[chosen] = np.inf
            chosen = self._best(source_room, target_room)
        self.num_left -= len(row)
        return row

    def _best(self, source_room: float, target_room: float) -> int | None:
        """Returns the position of the pair that fits best; None when none fits. This is the inner
        loop of planning: it computes in place, without allocating arrays."""
        score, too_long = self._score, self._too_long
        np.subtract(self._difference, source_room - target_room, out=score)
        np.abs(score, out=score)
        score *= -_BALANCE
        score += self._sum
        np.greater(self._source, source_room, out=too_long[0])
        np.greater(self._target, target_room, out=too_long[1])
        score[np.logical_or(too_long[0], too_long[1], out=too_long[0])] = -np.inf
        best = int(score.argmax())
        return None if score[best] == -np.inf else best
