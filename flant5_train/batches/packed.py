"""Packed micro-batches: a packer that fills a source row and a target row of fixed length at the
same time."""

import numpy as np
from numpy.typing import NDArray

from flant5_train.batching.cost import Capacity
from flant5_train.batching.types import MicroBatches, Pairs
from flant5_train.data.pairs import PairLengths

_WINDOW = 2000
"""Number of pairs that are packed at a time."""
_LEFT_FOR_THE_NEXT = 300
"""Pairs carried over to the next window. Without this, the last rows of a window would be poorly
filled."""
_BALANCE = 2.0
"""Weight of an equal rest on both sides, relative to a small rest."""


def packed_batches(order: Pairs, lengths: PairLengths, capacity: Capacity) -> MicroBatches:
    """Returns micro-batches whose sources and targets each sum up to at most their capacity. No
    pair may exceed it."""
    groups: list[Pairs] = []
    left = order[:0]
    for first in range(0, len(order), _WINDOW):
        pool = np.concatenate([left, order[first : first + _WINDOW]])
        is_last = first + _WINDOW >= len(order)
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

    def __init__(self, lengths: PairLengths, capacity: Capacity) -> None:
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
