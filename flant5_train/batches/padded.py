"""Random micro-batches: what everybody knows, and what the other ways are measured against."""

import numpy as np

from flant5_train.batches.micro_batch import MicroBatches, Pairs


def padded_batches(order: Pairs, *, num_pairs: int, per_step: int) -> MicroBatches:
    """Micro-batches of `num_pairs` pairs in the given order, `per_step` for each optimizer step.

    What is left for the last step is shared out evenly. Which pairs a step holds depends on their
    number only, not on the processes and passes that the step is split over.

    order 4 2 0 3 1, num_pairs 1, per_step 2  ->  [4] [2] | [0] [3] | [1] []
    """
    num_steps, num_left = divmod(len(order), num_pairs * per_step)
    sizes = [num_pairs] * (num_steps * per_step)
    if num_left:
        sizes += [len(part) for part in np.array_split(order[:num_left], per_step)]
    return MicroBatches(order, np.cumsum([0, *sizes], dtype=np.int64))
