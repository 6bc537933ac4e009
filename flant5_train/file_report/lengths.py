"""Counts of lengths, for exact percentiles, truncation and histograms of any number of pairs.

Memory grows only with the number of distinct lengths: a file of 600 MB has about ten thousand.
"""

from collections import Counter
from collections.abc import Iterable
from math import ceil

from flant5_train.protocol.file_report import Bucket, LengthSummary

_SMALLEST_BUCKET = 16


class LengthCounts:
    """The lengths of one side of all pairs."""

    def __init__(self) -> None:
        self._count_of: Counter[int] = Counter()

    def add(self, lengths: Iterable[int]) -> None:
        self._count_of.update(lengths)

    @property
    def num_tokens(self) -> int:
        return sum(length * count for length, count in self._count_of.items())

    def num_longer(self, limit: int) -> int:
        return sum(count for length, count in self._count_of.items() if length > limit)

    def tokens_beyond(self, limit: int) -> int:
        """Returns the number of tokens that a limit cuts off."""
        return sum(
            (length - limit) * count for length, count in self._count_of.items() if length > limit
        )

    def summary(self) -> LengthSummary | None:
        """Returns the summary, or None if there are no lengths."""
        if not self._count_of:
            return None
        return LengthSummary(
            p50=self._percentile(50),
            p90=self._percentile(90),
            p99=self._percentile(99),
            max=max(self._count_of),
            histogram=self._histogram(),
        )

    def _percentile(self, percent: int) -> int:
        """Returns a percentile like numpy's method "higher", which the report of a run uses."""
        rank = ceil((self._count_of.total() - 1) * percent / 100)
        for length in sorted(self._count_of):
            rank -= self._count_of[length]
            if rank < 0:
                return length
        raise AssertionError("the last length has the highest rank")

    def _histogram(self) -> tuple[Bucket, ...]:
        pairs_of: Counter[int] = Counter()
        for length, count in self._count_of.items():
            pairs_of[_bucket_of(length)] += count
        up_to, buckets = min(pairs_of), []
        while up_to <= max(pairs_of):
            buckets.append(Bucket(up_to=up_to, pairs=pairs_of[up_to]))
            up_to *= 2
        return tuple(buckets)


def _bucket_of(length: int) -> int:
    """
    >>> [_bucket_of(length) for length in (1, 16, 17, 32, 33)]
    [16, 16, 32, 32, 64]
    """
    return max(_SMALLEST_BUCKET, 1 << (length - 1).bit_length())
