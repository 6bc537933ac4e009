"""Lengths of the pairs for training benchmarks.

They are those of 67,594 pairs of 17,671 shared conversations if the file exists. Otherwise random
lengths of a similar distribution: a few long answers, and histories that grow with each turn until
the limit cuts them.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flant5_train.data.pairs import PairLengths

LIMIT = 2048
_NUM_DRAWN = 60_000
LENGTHS_FILE = Path(
    os.environ.get("FLANT5_PAIR_LENGTHS")
    or Path(__file__).parents[2] / "shared" / "data" / "pair_lengths.npz"
)
_FASTCHAT_GROWTH = 1.67
"""Tokens of FastChat's tokenization per token of ours: every gap between words is one."""


@dataclass(frozen=True, slots=True)
class BothLengths:
    """The same pairs in two tokenizations, cut at 2,048 tokens a side."""

    lossless: PairLengths
    fastchat: PairLengths
    origin: str


def pair_lengths() -> BothLengths:
    """Returns the real lengths if their file exists, otherwise random ones."""
    if not LENGTHS_FILE.exists():
        return BothLengths(
            drawn_lengths(_NUM_DRAWN),
            drawn_lengths(_NUM_DRAWN, growth=_FASTCHAT_GROWTH),
            f"{_NUM_DRAWN:,} drawn pairs",
        )
    with np.load(LENGTHS_FILE) as found:
        names = ("lossless", "fastchat_cut_2048")
        ours, theirs = (_cut(found[f"source_{name}"], found[f"target_{name}"]) for name in names)
    return BothLengths(ours, theirs, f"{len(ours):,} real pairs")


def drawn_lengths(num_pairs: int, *, growth: float = 1.0, seed: int = 0) -> PairLengths:
    """Returns random lengths like those of shared conversations, times `growth` before the cut."""
    rng = np.random.default_rng(seed)
    turns = rng.geometric(0.27, num_pairs)
    history = [rng.lognormal(5.2, 1.0, count).sum() for count in turns - 1]
    source = np.array(history) + rng.lognormal(3.7, 1.3, num_pairs) + 40
    target = rng.lognormal(5.6, 0.9, num_pairs) + 2
    return _cut(growth * source, growth * target)


def _cut(source: NDArray[np.floating], target: NDArray[np.floating]) -> PairLengths:
    return PairLengths(
        np.minimum(source, LIMIT).astype(np.int64), np.minimum(target, LIMIT).astype(np.int64)
    )


def shrunk(lengths: PairLengths, *, by: int) -> PairLengths:
    """Divides each length, to 2 tokens at least, for small models and machines."""
    return PairLengths(np.maximum(lengths.source // by, 2), np.maximum(lengths.target // by, 2))
