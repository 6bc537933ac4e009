"""Distribution of micro-batches over processes: equal numbers, and equal work at the same time.

An epoch's micro-batches are stored in the order in which they run: rounds of `num_processes`, one
for each process. `num_passes` rounds make an optimizer step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flant5_train.batches.work import Work
from flant5_train.batching.types import MicroBatches, Pairs


@dataclass(frozen=True, slots=True)
class StepShape:
    """Split of an optimizer step into processes and forward passes."""

    num_processes: int
    num_passes: int
    """Forward passes of each process: `gradient_accumulation_steps`."""

    @property
    def num_micro_batches(self) -> int:
        return self.num_processes * self.num_passes


def split_up(batches: MicroBatches, *, num: int, work: Work) -> MicroBatches:
    """Returns `num` micro-batches, which must not be fewer than `batches`. The costliest ones are
    halved until there are enough. If all hold a single pair, empty ones are appended."""
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
    # Neighbours have similar lengths: taking every other pair keeps both halves alike.
    return [pairs[::2], pairs[1::2]] if is_split else [pairs]


def dealt(
    batches: MicroBatches, costs: NDArray[np.int64], *, num_processes: int, rng: np.random.Generator
) -> MicroBatches:
    """Returns an epoch's micro-batches in rounds of similar cost. The order of the rounds, and the
    order within each, are random.

    A step never consists of empty micro-batches alone if there are fewer of them than in a step.
    """
    rounds = np.argsort(costs, kind="stable").reshape(-1, num_processes)
    rounds = rng.permuted(rounds, axis=1)
    return batches.ordered(rng.permutation(rounds).ravel())


def straggler(costs: NDArray[np.int64], *, num_processes: int) -> float:
    """Returns the mean work of the processes over the largest, for all rounds: the share of time in
    which a process computes instead of waiting."""
    rounds = costs.reshape(-1, num_processes)
    return float(rounds.mean(axis=1).sum() / rounds.max(axis=1).sum())
