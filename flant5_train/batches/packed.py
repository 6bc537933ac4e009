"""Micro-batches of pairs that lie one behind the other in rows of fixed length: a packer that
fills a source row and a target row at the same time."""

import numpy as np
from numpy.typing import NDArray

from flant5_train.batches.capacity import Capacity
from flant5_train.batches.lengths import PairLengths
from flant5_train.batches.micro_batch import MicroBatches, Pairs

_WINDOW = 2000
"""Pairs that are packed at a time."""
_LEFT_FOR_THE_NEXT = 300
"""Pairs of a window that wait for the next one: the last of a window would fit together badly."""
_BALANCE = 2.0
"""How much an equal rest on both sides is worth beside a small one."""


def packed_batches(order: Pairs, lengths: PairLengths, capacity: Capacity) -> MicroBatches:
    """Micro-batches whose sources sum up to at most the one capacity, and their targets to at most
    the other. No pair may be longer than they are."""
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
    """Pairs to be packed. Row by row the largest pair goes first, then again and again the pair
    that leaves little room and the same share of it on both sides.

    Lengths are counted in shares of the capacity, as whole numbers in float64, so that they mean
    the same on both sides and every machine packs alike: a source token is worth as many shares as
    the target has tokens.
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
        """The places in the window of the pairs of one row, which are then taken."""
        chosen: int | None = next(place for place in self._largest_first if self._is_left[place])
        row: list[int] = []
        source_room = target_room = self._full
        while chosen is not None:
            row.append(chosen)
            source_room -= self._source[chosen]
            target_room -= self._target[chosen]
            self._is_left[chosen] = False
            # No room is ever large enough for it again.
            self._source[chosen] = np.inf
            chosen = self._best(source_room, target_room)
        self.num_left -= len(row)
        return row

    def _best(self, source_room: float, target_room: float) -> int | None:
        """The place of the pair that fits best; None when none fits. The inner loop of planning:
        in place, without an array made anew."""
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
