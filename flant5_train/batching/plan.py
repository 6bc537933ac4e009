"""Batch plan of a whole run: a pure function of the pairs' lengths and the settings. It is the same
on every process and after every resume."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from flant5_train.batching.cost import (
    Cost,
    PackedTokenCounts,
    PaddedTokenCounts,
    TokenBudget,
    TokenCounts,
    estimated_cost,
    mean_capacity,
    row_capacity,
)
from flant5_train.batching.schedule import (
    Epochs,
    GroupedEpochs,
    PairOrder,
    RandomEpochs,
    StepShape,
    straggler,
)
from flant5_train.batching.strategies import bucketed_batches, capacity_for, packed_batches
from flant5_train.batching.types import MicroBatches, Pairs, PlanReport
from flant5_train.config import Batching
from flant5_train.data.pairs import LargestBatch, PairLengths
from flant5_train.protocol.auto import auto_epochs


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Inputs of a plan other than the lengths."""

    batching: Batching
    num_pairs: int
    """Pairs of a micro-batch, `per_device_train_batch_size`; the mean when bucketed or packed."""
    shape: StepShape
    num_epochs: float | None
    """None chooses a number that gives enough optimizer steps."""
    max_steps: int
    """-1 uses `num_epochs` instead."""
    seed: int


class RunPlan:
    """Assignment of pairs to processes and steps. Every pair is trained on once per epoch, and
    every epoch ends with a complete step."""

    def __init__(
        self, lengths: PairLengths, settings: PlanSettings, *, cost: Cost = estimated_cost
    ) -> None:
        self.lengths = lengths
        self.settings = settings
        self.row_capacity: TokenBudget | None = None
        """Capacity of a packed row; None unless packed."""
        if settings.batching == "packed":
            self.row_capacity = row_capacity(lengths, num_pairs=settings.num_pairs)
        self._work = _work(lengths, cost, self.row_capacity)
        self._epochs = _epochs(lengths, settings, self._work)
        self._planned: tuple[int, MicroBatches] | None = None

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of an epoch, over all processes."""
        return self._epochs.num_micro_batches

    @property
    def steps_per_epoch(self) -> int:
        return self.num_micro_batches // self.settings.shape.num_micro_batches

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the run."""
        if self.settings.max_steps > 0:
            return self.settings.max_steps
        return math.ceil(self._num_epochs * self.steps_per_epoch)

    @property
    def chosen_epochs(self) -> int | None:
        """The automatic number of epochs; None when epochs or steps were given."""
        if self.settings.max_steps > 0 or self.settings.num_epochs is not None:
            return None
        return auto_epochs(self.steps_per_epoch)

    @property
    def _num_epochs(self) -> float:
        given = self.settings.num_epochs
        return auto_epochs(self.steps_per_epoch) if given is None else given

    @property
    def fingerprint(self) -> int:
        """32-bit checksum that identifies the plan."""
        first = self.micro_batches(0)
        return zlib.crc32(first.pairs.tobytes(), zlib.crc32(first.offsets.tobytes()))

    def micro_batches(self, epoch: int) -> MicroBatches:
        """Returns the micro-batches of all processes, in the order in which they run (see
        `dealing`)."""
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self._epochs.micro_batches(epoch)
        return self._planned[1]

    def share(self, epoch: int, *, process: int) -> Iterator[Pairs]:
        """Yields the micro-batches of one process; an empty one stands for a filler."""
        batches = self.micro_batches(epoch)
        for index in range(process, len(batches), self.settings.shape.num_processes):
            yield batches[index]

    def report(self) -> PlanReport:
        """Returns the figures of the first epoch, and the largest micro-batch of the run."""
        source_fill, target_fill = self.packing_efficiency()
        return PlanReport(
            batching=self.settings.batching,
            num_steps=self.num_steps,
            num_micro_batches=self.num_micro_batches,
            source_fill=source_fill,
            target_fill=target_fill,
            straggler=straggler(
                self._work.costs(self.micro_batches(0)),
                num_processes=self.settings.shape.num_processes,
            ),
            largest=self.largest,
        )

    def packing_efficiency(self) -> tuple[float, float]:
        """Returns tokens over tokens with padding, of sources and targets, in the first epoch."""
        tokens = self._work.tokens(self.micro_batches(0))
        return (
            float(self.lengths.source.sum() / tokens.source.sum()),
            float(self.lengths.target.sum() / tokens.target.sum()),
        )

    @cached_property
    def largest(self) -> LargestBatch:
        """The micro-batch with the most work. Padded ones differ a lot, so all epochs are searched.
        Bucketed and packed ones come close to their limit in every epoch: the first one suffices.
        """
        is_random = self.settings.batching == "padded"
        num_epochs = math.ceil(self.num_steps / self.steps_per_epoch) if is_random else 1
        found = (self._largest_of(self._epochs.micro_batches(epoch)) for epoch in range(num_epochs))
        return max(found, key=lambda costly: costly[0])[1]

    def _largest_of(self, batches: MicroBatches) -> tuple[int, LargestBatch]:
        costs = self._work.costs(batches)
        index = int(costs.argmax())
        longest = batches.longest(self.lengths)
        tokens = self._work.tokens(batches)
        return int(costs[index]), LargestBatch(
            pairs=tuple(batches[index].tolist()),
            longest_source=int(longest.source[index]),
            longest_target=int(longest.target[index]),
            source_places=int(tokens.source[index]),
            target_places=int(tokens.target[index]),
        )


def _work(lengths: PairLengths, cost: Cost, row: TokenBudget | None) -> TokenCounts:
    return (
        PaddedTokenCounts(lengths, cost) if row is None else PackedTokenCounts(lengths, cost, row)
    )


def _epochs(lengths: PairLengths, settings: PlanSettings, work: TokenCounts) -> Epochs:
    order = PairOrder(len(lengths), settings.seed)
    size = settings.num_pairs
    if settings.batching == "padded":
        return RandomEpochs(order, settings.shape, num_pairs=size)
    if isinstance(work, PackedTokenCounts):
        group = partial(packed_batches, lengths=lengths, capacity=work.capacity)
    else:
        mean = mean_capacity(lengths, num_pairs=size)
        capacity = capacity_for(lengths, mean, num_pairs=size)
        group = partial(bucketed_batches, lengths=lengths, capacity=capacity)
    return GroupedEpochs(order, settings.shape, work=work, group=group)
