"""Bucketed micro-batches: pairs of similar source and target length, under a token budget."""

import numpy as np
from numpy.typing import NDArray

from flant5_train.batching.cost import Capacity
from flant5_train.batching.types import MicroBatches, Pairs
from flant5_train.data.pairs import PairLengths

_WINDOW = 4000
"""Pairs that are grouped by length at a time. A larger window means less padding, but more similar
micro-batches from epoch to epoch."""


def bucketed_batches(order: Pairs, lengths: PairLengths, capacity: Capacity) -> MicroBatches:
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


def _walk(lengths: PairLengths, capacity: Capacity) -> NDArray[np.int64]:
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


def _cuts(lengths: PairLengths, capacity: Capacity) -> list[int]:
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


def capacity_for(lengths: PairLengths, capacity: Capacity, *, num_pairs: int) -> Capacity:
    """Returns the capacity times 1, 1.1, ... 2: the smallest that gives micro-batches of at least
    `num_pairs` on average. At factor 1 they may hold fewer, since a long source with a short target
    fills one side only, and vice versa."""
    order = np.random.default_rng(0).permutation(len(lengths))
    for tenths in range(10, 20):
        grown = capacity.times(tenths / 10)
        if len(bucketed_batches(order, lengths, grown)) * num_pairs <= len(lengths):
            return grown
    return capacity.times(2)
