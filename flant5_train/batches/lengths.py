"""Lengths of pairs in tokens, after truncation. Shapes: N pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
    """The micro-batch with the most work: what memory has to suffice for."""

    pairs: tuple[int, ...]
    """Their numbers in the data set."""
    longest_source: int
    longest_target: int
    source_places: int
    """Tokens of the encoder's side, padding counted."""
    target_places: int
    """The same of the decoder's side."""

    @property
    def num_pairs(self) -> int:
        return len(self.pairs)

    @property
    def padded_tokens(self) -> int:
        """Of both sides, padding counted."""
        return self.source_places + self.target_places
