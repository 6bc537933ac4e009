"""Sample of validation pairs to answer, and its distribution over processes."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Share:
    """The pairs that one process answers."""

    rows: tuple[int, ...]
    num_counted: int
    """Leading rows that count. A row after them is a filler: with sharding every process must call
    the model equally often."""


def sample_rows(num_pairs: int, *, count: int, seed: int) -> tuple[int, ...]:
    """Returns rows of a validation set: the same at each evaluation and for any number of
    processes."""
    chosen = np.random.default_rng(seed).permutation(num_pairs)[:count]
    return tuple(int(row) for row in chosen)


def share_of(rows: tuple[int, ...], *, process: int, num_processes: int) -> Share:
    """Returns the share of one process. All shares have the same length.

    share_of((5, 1, 4), process=1, num_processes=2) -> Share(rows=(1, 5), num_counted=1)
    """
    own = rows[process::num_processes]
    longest = -(-len(rows) // num_processes)
    return Share(own + rows[:1] * (longest - len(own)), len(own))
