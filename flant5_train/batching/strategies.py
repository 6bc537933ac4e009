"""Padded micro-batches in random order: the usual way, and the baseline for the others."""

import numpy as np

from flant5_train.batching.types import MicroBatches, Pairs


def padded_batches(order: Pairs, *, num_pairs: int, per_step: int) -> MicroBatches:
    """Returns micro-batches of `num_pairs` pairs in the given order, `per_step` for each optimizer
    step.

    The remaining pairs are shared out evenly in the last step. The pairs of a step depend only on
    `num_pairs * per_step`, not on how the step is split into processes and passes.

    order 4 2 0 3 1, num_pairs 1, per_step 2  ->  [4] [2] | [0] [3] | [1] []
    """
    num_steps, num_left = divmod(len(order), num_pairs * per_step)
    sizes = [num_pairs] * (num_steps * per_step)
    if num_left:
        sizes += [len(part) for part in np.array_split(order[:num_left], per_step)]
    return MicroBatches(order, np.cumsum([0, *sizes], dtype=np.int64))
