from typing import get_args

import numpy as np
import pytest

from benchmarks.pair_lengths import drawn_lengths
from flant5_train.batching.cost import mean_capacity
from flant5_train.batching.plan import RunPlan
from flant5_train.batching.schedule import StepShape
from flant5_train.batching.strategies import capacity_for
from flant5_train.config import Batching
from flant5_train.data.pairs import PairLengths
from tests.flant5_train.batching.conftest import settings

every_way = pytest.mark.parametrize("batching", get_args(Batching))
grouped = pytest.mark.parametrize("batching", ["bucketed", "packed"])


@every_way
@pytest.mark.parametrize("num_pairs", [1, 3, 8])
@pytest.mark.parametrize("shape", [StepShape(1, 1), StepShape(2, 1), StepShape(3, 4)])
@pytest.mark.parametrize("count", [1, 2, 30, 700])
def test_each_pair_is_trained_on_once_per_epoch(
    batching: Batching, num_pairs: int, shape: StepShape, count: int
) -> None:
    plan = RunPlan(
        drawn_lengths(count), settings(batching=batching, num_pairs=num_pairs, shape=shape)
    )
    for epoch in range(4):
        assert sorted(plan.micro_batches(epoch).pairs) == [*range(count)]
        shares = [list(plan.share(epoch, process=rank)) for rank in range(shape.num_processes)]
        assert sorted(np.concatenate([each for share in shares for each in share])) == [
            *range(count)
        ]
        assert {len(share) for share in shares} == {plan.steps_per_epoch * shape.num_passes}


@every_way
@pytest.mark.parametrize("count", [1, 5, 9, 17, 30])
def test_each_step_trains_on_a_pair(batching: Batching, count: int) -> None:
    shape = StepShape(num_processes=2, num_passes=4)
    plan = RunPlan(drawn_lengths(count), settings(batching=batching, num_pairs=1, shape=shape))
    for epoch in range(4):
        sizes = plan.micro_batches(epoch).sizes.reshape(plan.steps_per_epoch, -1)
        assert (sizes.sum(axis=1) > 0).all()


@every_way
def test_a_plan_is_a_function_of_seed_and_epoch(batching: Batching) -> None:
    lengths = drawn_lengths(500)
    first, again, other = (
        RunPlan(lengths, settings(batching=batching, seed=seed)) for seed in (1, 1, 2)
    )
    for epoch in (2, 0, 1, 0):
        ours, theirs = first.micro_batches(epoch), again.micro_batches(epoch)
        assert (ours.pairs == theirs.pairs).all()
        assert (ours.offsets == theirs.offsets).all()
        assert list(ours.pairs) != list(other.micro_batches(epoch).pairs)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert list(first.micro_batches(0).pairs) != list(first.micro_batches(1).pairs)


@every_way
def test_the_number_of_steps_is_known_before_the_epochs_are_planned(batching: Batching) -> None:
    lengths = drawn_lengths(300)
    plan = RunPlan(lengths, settings(batching=batching, num_epochs=2.5))
    assert plan.num_steps == int(np.ceil(2.5 * plan.steps_per_epoch))
    for epoch in range(12):
        assert len(plan.micro_batches(epoch)) == plan.num_micro_batches
    assert RunPlan(lengths, settings(batching=batching, max_steps=7)).num_steps == 7


def test_the_pairs_of_a_padded_step_do_not_depend_on_how_it_is_split() -> None:
    lengths = drawn_lengths(75)
    whole = RunPlan(lengths, settings(num_pairs=16, shape=StepShape(1, 1)))
    split = RunPlan(lengths, settings(num_pairs=2, shape=StepShape(2, 4)))
    assert whole.steps_per_epoch == split.steps_per_epoch == 5
    steps = [np.split(plan.micro_batches(1).pairs, range(16, 75, 16)) for plan in (whole, split)]
    assert all((ours == theirs).all() for ours, theirs in zip(*steps, strict=True))
    assert max(whole.micro_batches(0).sizes) == 16
    assert max(split.micro_batches(0).sizes) == 2


@pytest.mark.parametrize("num_pairs", [1, 2, 8, 40])
def test_a_packed_row_never_overflows(num_pairs: int) -> None:
    lengths = drawn_lengths(3000)
    plan = RunPlan(lengths, settings(batching="packed", num_pairs=num_pairs))
    assert plan.row_capacity is not None
    assert plan.row_capacity.source % 128 == plan.row_capacity.target % 128 == 0
    assert plan.row_capacity.source >= lengths.source.max()
    assert plan.row_capacity.target >= lengths.target.max()
    for epoch in range(2):
        batches = plan.micro_batches(epoch)
        for pairs in (batches[index] for index in range(len(batches))):
            assert lengths.source[pairs].sum() <= plan.row_capacity.source
            assert lengths.target[pairs].sum() <= plan.row_capacity.target


@pytest.mark.parametrize("num_pairs", [1, 2, 8, 40])
def test_a_bucket_stays_within_its_budget_with_padding(num_pairs: int) -> None:
    lengths = drawn_lengths(3000)
    mean = mean_capacity(lengths, num_pairs=num_pairs)
    budget = capacity_for(lengths, mean, num_pairs=num_pairs)
    assert mean.source <= budget.source <= 2 * mean.source
    plan = RunPlan(lengths, settings(batching="bucketed", num_pairs=num_pairs))
    for epoch in range(2):
        batches = plan.micro_batches(epoch)
        longest = batches.longest(lengths)
        assert (batches.sizes * longest.source).max() <= budget.source
        assert (batches.sizes * longest.target).max() <= budget.target


def check_quality(lengths: PairLengths, *, num_pairs: int) -> None:
    shape = StepShape(num_processes=8, num_passes=1)
    padded, bucketed, packed = (
        RunPlan(lengths, settings(batching=way, num_pairs=num_pairs, shape=shape)).report()
        for way in get_args(Batching)
    )
    assert min(packed.source_fill, packed.target_fill) >= 0.97
    assert min(bucketed.source_fill, bucketed.target_fill) >= 0.93
    assert min(packed.straggler, bucketed.straggler) >= 0.95
    assert padded.straggler < 0.95
    assert max(padded.source_fill, padded.target_fill) < 0.7
    for grouped in (bucketed, packed):
        assert grouped.num_micro_batches == pytest.approx(padded.num_micro_batches, rel=0.1)


@pytest.mark.parametrize("num_pairs", [6, 7, 8])
def test_drawn_lengths_are_packed_almost_without_padding(num_pairs: int) -> None:
    check_quality(drawn_lengths(20_000), num_pairs=num_pairs)


@pytest.mark.parametrize("num_pairs", [6, 8])
def test_real_lengths_are_packed_almost_without_padding(
    real_lengths: PairLengths, num_pairs: int
) -> None:
    check_quality(real_lengths, num_pairs=num_pairs)


@every_way
def test_the_largest_micro_batch_is_told(batching: Batching) -> None:
    lengths = drawn_lengths(400)
    plan = RunPlan(lengths, settings(batching=batching))
    largest = plan.largest
    pairs = np.array(largest.pairs)
    assert largest.num_pairs == len(pairs) > 0
    assert largest.longest_source == lengths.source[pairs].max()
    assert largest.longest_target == lengths.target[pairs].max()
    assert any(
        set(largest.pairs) == set(each)
        for epoch in range(3)
        for rank in range(2)
        for each in plan.share(epoch, process=rank)
    )


def test_random_micro_batches_are_searched_in_all_epochs() -> None:
    source, target = np.full(64, 10), np.full(64, 10)
    source[0] = target[1] = 100
    shape = StepShape(1, 1)
    short, long = (
        RunPlan(
            PairLengths(source, target), settings(num_pairs=2, shape=shape, num_epochs=num_epochs)
        ).largest
        for num_epochs in (1, 300)
    )
    assert (short.longest_source, short.longest_target) != (100, 100)
    assert set(long.pairs) == {0, 1}
