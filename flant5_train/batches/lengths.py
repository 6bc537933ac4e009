"""How long pairs are, after cutting. N pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PairLengths:
    """Tokens of each pair's source [N] and target [N], EOS counted; int64, N at least 1."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)

    def of(self, pairs: NDArray[np.int64]) -> "PairLengths":
        """The lengths of some of the pairs, in their order."""
        return PairLengths(self.source[pairs], self.target[pairs])

    @property
    def shortest(self) -> int:
        """The number of the pair with the fewest tokens."""
        return int(np.argmin(self.source + self.target))
