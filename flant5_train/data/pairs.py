"""Lengths of pairs in tokens, and the split into training and validation pairs.

The lengths are those after truncation. No torch here: plans of runs use this module too. Shapes: N
pairs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flant5_train.data.errors import DataError


@dataclass(frozen=True, slots=True)
class PairLengths:
    """Tokens of each pair's source [N] and target [N], including EOS; int64, N at least 1."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)

    def of(self, pairs: NDArray[np.int64]) -> "PairLengths":
        """Returns the lengths of the given pairs, in their order."""
        return PairLengths(self.source[pairs], self.target[pairs])

    @property
    def shortest(self) -> int:
        """The number of the pair with the fewest tokens."""
        return int(np.argmin(self.source + self.target))


@dataclass(frozen=True, slots=True)
class LargestBatch:
    """The micro-batch with the most work, which decides how much memory is needed."""

    pairs: tuple[int, ...]
    """Pair numbers in the data set."""
    longest_source: int
    longest_target: int
    source_places: int
    """Tokens on the encoder's side, including padding."""
    target_places: int
    """Tokens on the decoder's side, including padding."""

    @property
    def num_pairs(self) -> int:
        return len(self.pairs)

    @property
    def padded_tokens(self) -> int:
        """Tokens on both sides, including padding."""
        return self.source_places + self.target_places


@dataclass(frozen=True, slots=True)
class Split:
    """Rows for training and for validation, each in order."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def split_by_conversation(
    conversation_of: NDArray[np.integer], *, share: float, seed: int
) -> Split:
    """Splits rows by their conversation numbers, [N].

    Pairs of one conversation stay together, because later questions contain earlier answers.
    Raises DataError if fewer than two conversations have pairs.
    """
    conversations = np.unique(conversation_of)
    if len(conversations) < 2:
        raise DataError(
            f"validation_split is {share}, but only {len(conversations)} conversation has pairs;"
            " expected at least 2"
        )
    count = min(max(1, round(len(conversations) * share)), len(conversations) - 1)
    held_back = np.random.default_rng(seed).permutation(conversations)[:count]
    is_validation = np.isin(conversation_of, held_back)
    return Split(np.flatnonzero(~is_validation), np.flatnonzero(is_validation))
