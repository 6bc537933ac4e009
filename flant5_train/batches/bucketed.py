"""Micro-batches of pairs whose source and target are both about as long, under a token budget."""

import numpy as np
from numpy.typing import NDArray

from flant5_train.batches.capacity import Capacity
from flant5_train.batches.lengths import PairLengths
from flant5_train.batches.micro_batch import MicroBatches, Pairs

_WINDOW = 4000
"""Pairs among which similar ones are looked for; with more, less is padding, and micro-batches come
closer to being the same in each epoch."""


def bucketed_batches(order: Pairs, lengths: PairLengths, capacity: Capacity) -> MicroBatches:
    """Each holds B pairs with B x longest source and B x longest target within the capacity.

    Windows of the order are cut into strips of similar source, each strip is sorted by target, and
    the budget decides where one micro-batch ends.
    """
    groups: list[Pairs] = []
    for first in range(0, len(order), _WINDOW):
        window = order[first : first + _WINDOW]
        walk = window[_walk(lengths.of(window), capacity)]
        groups += np.split(walk, _cuts(lengths.of(walk), capacity))
    return MicroBatches.of(groups)


def _walk(lengths: PairLengths, capacity: Capacity) -> NDArray[np.int64]:
    """An order in which neighbours are similar: through strips of source lengths, up one strip by
    target and down the next, so that there is no jump between two strips."""
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
    """Where new micro-batches begin, the first one left out."""
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
    """The capacity times 1, 1.1, ... 2: the least at which micro-batches hold `num_pairs` on
    average. Long sources with short targets fill one side only, and the other way round."""
    order = np.random.default_rng(0).permutation(len(lengths))
    for tenths in range(10, 20):
        grown = capacity.times(tenths / 10)
        if len(bucketed_batches(order, lengths, grown)) * num_pairs <= len(lengths):
            return grown
    return capacity.times(2)
