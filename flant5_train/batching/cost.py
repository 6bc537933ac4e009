"""Token capacity of a micro-batch."""

from dataclasses import dataclass

from flant5_train.data.pairs import PairLengths

_ROW_UNIT = 128
"""Block size of block masks, in tokens. Packed rows are multiples of it."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Limits of a micro-batch's source and target side, in tokens."""

    source: int
    target: int

    def times(self, factor: float) -> "Capacity":
        return Capacity(int(self.source * factor), int(self.target * factor))


def mean_capacity(lengths: PairLengths, *, num_pairs: int) -> Capacity:
    """Returns the capacity for `num_pairs` pairs of mean length. It is at least that of the longest
    source and target."""
    return Capacity(
        max(_room(int(lengths.source.sum()), num_pairs, len(lengths)), int(lengths.source.max())),
        max(_room(int(lengths.target.sum()), num_pairs, len(lengths)), int(lengths.target.max())),
    )


def row_capacity(lengths: PairLengths, *, num_pairs: int) -> Capacity:
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
    return Capacity(source, target)


def _room(num_tokens: int, num_pairs: int, of: int) -> int:
    return -(-num_tokens * num_pairs // of)


def _blocks(num_tokens: int) -> int:
    return -(-num_tokens // _ROW_UNIT) * _ROW_UNIT


def _following(product: int, other: int, *, at_least: int) -> int:
    return max(round(product / other / _ROW_UNIT) * _ROW_UNIT, _blocks(at_least))
