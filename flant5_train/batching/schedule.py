"""Micro-batches of each epoch, in the order in which they run; equally many in every epoch.

They form rounds of `num_processes`, one micro-batch for each process, and `num_passes` rounds make
an optimizer step. All processes get equal numbers, and equal work at the same time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flant5_train.batching.cost import TokenCounts
from flant5_train.batching.strategies import padded_batches
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


def split_up(batches: MicroBatches, *, num: int, work: TokenCounts) -> MicroBatches:
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


def balanced_shards(
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


_TRIES = 8


class Epochs(Protocol):
    """Epochs of a run, planned on request. Repeated requests return equal plans."""

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of each epoch; a multiple of those in an optimizer step."""

    def micro_batches(self, epoch: int) -> MicroBatches:
        """Returns the micro-batches of an epoch, counted from 0."""


@dataclass(frozen=True, slots=True)
class PairOrder:
    """Reproducible random orders of `num_pairs` pairs."""

    num_pairs: int
    seed: int

    def permutation(self, *key: int) -> Pairs:
        return self.generator(*key).permutation(self.num_pairs)

    def generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *key])


class RandomEpochs:
    """Epochs of padded batches: consecutive groups of a random order."""

    def __init__(self, order: PairOrder, shape: StepShape, *, num_pairs: int) -> None:
        self._order = order
        self._shape = shape
        self._num_pairs = num_pairs
        self.num_micro_batches = len(self.micro_batches(0))

    def micro_batches(self, epoch: int) -> MicroBatches:
        pairs = self._order.permutation(epoch)
        per_step = self._shape.num_micro_batches
        return padded_batches(pairs, num_pairs=self._num_pairs, per_step=per_step)


class GroupedEpochs:
    """Epochs of groups of pairs that fit together, with equal work for all processes.

    The number of groups varies with the order by a few in a thousand, but the number of steps must
    be known before later epochs are planned. Every epoch therefore has as many micro-batches as the
    first, plus one in a thousand. If an epoch has fewer groups, some are halved. If it has more,
    other orders are tried; the last resort is the first epoch's groups.
    """

    def __init__(
        self,
        order: PairOrder,
        shape: StepShape,
        *,
        work: TokenCounts,
        group: Callable[[Pairs], MicroBatches],
    ) -> None:
        self._order = order
        self._shape = shape
        self._work = work
        self._group = group
        self._first = self._groups(0, 0)
        per_step = shape.num_micro_batches
        wanted = len(self._first) + len(self._first) // 1000
        self.num_micro_batches = -(-wanted // per_step) * per_step

    def micro_batches(self, epoch: int) -> MicroBatches:
        groups = next(
            groups for groups in self._attempts(epoch) if len(groups) <= self.num_micro_batches
        )
        groups = split_up(groups, num=self.num_micro_batches, work=self._work)
        return balanced_shards(
            groups,
            self._work.costs(groups),
            num_processes=self._shape.num_processes,
            rng=self._order.generator(epoch, _TRIES),
        )

    def _attempts(self, epoch: int) -> Iterator[MicroBatches]:
        if epoch > 0:
            for attempt in range(_TRIES):
                yield self._groups(epoch, attempt)
        yield self._first

    def _groups(self, epoch: int, attempt: int) -> MicroBatches:
        return self._group(self._order.permutation(epoch, attempt))
