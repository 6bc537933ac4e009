"""Which validation pairs are answered, and by which process."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Share:
    """The pairs that one process answers."""

    rows: tuple[int, ...]
    num_counted: int
    """Those at the front; a last one behind them only keeps step with the other processes, which
    under sharding have to call the model as often."""


def sample_rows(num_pairs: int, *, count: int, seed: int) -> tuple[int, ...]:
    """Rows of a validation set, the same at each evaluation and for any number of processes."""
    chosen = np.random.default_rng(seed).permutation(num_pairs)[:count]
    return tuple(int(row) for row in chosen)


def share_of(rows: tuple[int, ...], *, process: int, num_processes: int) -> Share:
    """The share of a process; those of all have the same length.

    share_of((5, 1, 4), process=1, num_processes=2) -> Share(rows=(1, 5), num_counted=1)
    """
    own = rows[process::num_processes]
    longest = -(-len(rows) // num_processes)
    return Share(own + rows[:1] * (longest - len(own)), len(own))
