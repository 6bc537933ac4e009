"""How many tokens a micro-batch may hold."""

from dataclasses import dataclass

from flant5_train.batches.lengths import PairLengths

_ROW_UNIT = 128
"""Packed rows are multiples of this: block masks are made of blocks of so many tokens."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Limits in tokens of a micro-batch's two sides."""

    source: int
    target: int

    def times(self, factor: float) -> "Capacity":
        return Capacity(int(self.source * factor), int(self.target * factor))


def mean_capacity(lengths: PairLengths, *, num_pairs: int) -> Capacity:
    """Room for so many pairs of mean length, and for the longest source and target in any case."""
    return Capacity(
        max(_room(int(lengths.source.sum()), num_pairs, len(lengths)), int(lengths.source.max())),
        max(_room(int(lengths.target.sum()), num_pairs, len(lengths)), int(lengths.target.max())),
    )


def row_capacity(lengths: PairLengths, *, num_pairs: int) -> Capacity:
    """The same in whole blocks of 128 tokens.

    The smaller side is rounded up and the larger one follows it, so that both go on holding the
    same number of mean pairs: a side that is rounded for itself stays empty by as much as the other
    one fills up first (up to 5 % at 2,300 tokens).
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
