"""Micro-batches to processes: equal work at the same time, the same number for each.

An epoch's micro-batches lie in the order in which they are run: rounds of `num_processes`, one for
each process; `num_passes` rounds make an optimizer step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flant5_train.batches.micro_batch import MicroBatches, Pairs
from flant5_train.batches.work import Work


@dataclass(frozen=True, slots=True)
class StepShape:
    """How an optimizer step is split up."""

    num_processes: int
    num_passes: int
    """Forward passes of each process: `gradient_accumulation_steps`."""

    @property
    def num_micro_batches(self) -> int:
        return self.num_processes * self.num_passes


def split_up(batches: MicroBatches, *, num: int, work: Work) -> MicroBatches:
    """`num` micro-batches, at least as many as there are: the costliest are halved until it is so.
    Where that ends, since each holds a single pair, empty ones follow."""
    while len(batches) < num and (batches.sizes > 1).any():
        costs = np.where(batches.sizes > 1, work.costs(batches), -1)
        num_split = min(num - len(batches), int((batches.sizes > 1).sum()))
        costliest = set(np.argsort(-costs, kind="stable")[:num_split].tolist())
        batches = MicroBatches.of(
            part
            for index in range(len(batches))
            for part in _parts(batches[index], index in costliest)
        )
    empty: Pairs = batches.pairs[:0]
    missing = [empty] * (num - len(batches))
    return MicroBatches.of([*(batches[index] for index in range(len(batches))), *missing])


def _parts(pairs: Pairs, is_split: bool) -> list[Pairs]:
    # Neighbours are alike; so both halves get of everything.
    return [pairs[::2], pairs[1::2]] if is_split else [pairs]


def dealt(
    batches: MicroBatches, costs: NDArray[np.int64], *, num_processes: int, rng: np.random.Generator
) -> MicroBatches:
    """The order of an epoch: rounds of micro-batches that cost about the same, the rounds and the
    places in them at random.

    With fewer empty micro-batches than a step has, no step is made of those alone.
    """
    rounds = np.argsort(costs, kind="stable").reshape(-1, num_processes)
    rounds = rng.permuted(rounds, axis=1)
    return batches.ordered(rng.permutation(rounds).ravel())


def straggler(costs: NDArray[np.int64], *, num_processes: int) -> float:
    """Mean over largest work of the processes, over all rounds: the share of the time in which a
    process works rather than waits."""
    rounds = costs.reshape(-1, num_processes)
    return float(rounds.mean(axis=1).sum() / rounds.max(axis=1).sum())
