import numpy as np
import pytest

from benchmarks.pair_lengths import drawn_lengths
from flant5_train.batching.cost import PaddedTokenCounts, estimated_cost
from flant5_train.batching.schedule import (
    GroupedEpochs,
    PairOrder,
    StepShape,
    balanced_shards,
    split_up,
    straggler,
)
from flant5_train.batching.types import MicroBatches, Pairs

LENGTHS = drawn_lengths(60)
WORK = PaddedTokenCounts(LENGTHS, estimated_cost)


class GroupsOf:
    """Groups of given sizes, one size per call; the last goes on for ever."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = [*sizes]

    def __call__(self, order: Pairs) -> MicroBatches:
        size = self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]
        return MicroBatches.of(np.split(order, range(size, len(order), size)))


def planned(group: GroupsOf, *, per_step: int = 2) -> GroupedEpochs:
    shape = StepShape(num_processes=per_step, num_passes=1)
    return GroupedEpochs(PairOrder(60, seed=1), shape, work=WORK, group=group)


def check_once_each(batches: MicroBatches) -> None:
    assert sorted(batches.pairs) == [*range(60)]


def test_an_epoch_with_fewer_groups_halves_some() -> None:
    epochs = planned(GroupsOf(5, 6))
    assert epochs.num_micro_batches == 12
    batches = epochs.micro_batches(1)
    check_once_each(batches)
    assert sorted(batches.sizes) == [3, 3, 3, 3, *[6] * 8]


def test_an_epoch_with_more_groups_is_ordered_anew() -> None:
    batches = planned(GroupsOf(5, 4, 3, 5)).micro_batches(1)
    check_once_each(batches)
    assert list(batches.sizes) == [5] * 12


def test_an_epoch_that_never_fits_has_the_groups_of_the_first() -> None:
    epochs = planned(GroupsOf(5, 4))
    first, later = ({frozenset(e) for e in _groups(epochs.micro_batches(n))} for n in (0, 3))
    assert first == later
    assert list(epochs.micro_batches(0).pairs) != list(epochs.micro_batches(3).pairs)


def _groups(batches: MicroBatches) -> list[tuple[int, ...]]:
    return [tuple(batches[index].tolist()) for index in range(len(batches))]


def test_single_pairs_are_not_split_further() -> None:
    batches = split_up(MicroBatches.of([np.arange(3)]), num=5, work=WORK)
    assert sorted(batches.sizes) == [0, 0, 1, 1, 1]


def test_processes_work_on_equal_costs_at_the_same_time() -> None:
    batches = MicroBatches.of(np.split(np.arange(60), 20))
    costs = np.random.default_rng(0).permutation(np.repeat([1, 5, 9, 40, 90], 4))
    rounds = balanced_shards(batches, costs, num_processes=4, rng=np.random.default_rng(1))
    by_group = dict(zip(_groups(batches), costs.tolist(), strict=True))
    dealt_costs = np.array([by_group[group] for group in _groups(rounds)])
    assert straggler(dealt_costs, num_processes=4) == 1
    assert straggler(np.array([1, 3, 2, 2]), num_processes=2) == pytest.approx(4 / 5)
    assert list(dealt_costs) != sorted(dealt_costs)
