"""Planned batches of the examples, as the trainer gets them."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
from accelerate import skip_first_batches

from flant5_train.arguments import DataArguments, TrainingArguments
from flant5_train.batching.loader import Example, TrainingBatches, collator_of, planned_batches
from flant5_train.batching.plan import RunPlan
from flant5_train.batching.schedule import StepShape
from flant5_train.config import Batching
from flant5_train.data.dataset import DataModule, make_supervised_data_module
from flant5_train.models.flan_t5 import FlanT5
from flant5_train.models.loading import load_model
from flant5_train.models.loss import IGNORED
from flant5_train.models.tokenizer import load_tokenizer
from tests.flant5_train.batching.conftest import settings
from tests.flant5_train.conftest import EXAMPLES
from tests.flant5_train.runs import some_examples

every_way = pytest.mark.parametrize("batching", get_args(Batching))


@pytest.fixture(scope="module")
def data(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DataModule:
    directory = tmp_path_factory.mktemp("data")
    return make_supervised_data_module(
        load_tokenizer(tiny_model, model_max_length=120),
        DataArguments(
            data_path=str(some_examples(directory / "talks.json", 30)),
            cache_directory=str(directory / "cache"),
        ),
    )


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> FlanT5:
    model = load_model(tiny_model, load_tokenizer(tiny_model, model_max_length=120))
    model.train(False)
    return model


def source_tokens(batch: dict[str, torch.Tensor]) -> int:
    is_padded = "attention_mask" in batch
    return int(batch["attention_mask" if is_padded else "source_segments"].count_nonzero())


def planned(data: DataModule, batching: Batching, tmp_path: Path) -> TrainingBatches:
    training = TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=4, batching=batching, report_to="none"
    )
    return planned_batches(data["train_dataset"], data["data_collator"], training)


@pytest.mark.parametrize("tokenization", ["lossless", "fastchat"])
def test_lengths_are_those_of_the_pairs(
    tiny_model: Path, tmp_path: Path, tokenization: str
) -> None:
    tokenizer = load_tokenizer(
        tiny_model,
        tokenization=tokenization,  # type: ignore[arg-type]
        model_max_length=120,
    )
    arguments = DataArguments(
        data_path=str(EXAMPLES), cache_directory=str(tmp_path), max_target_length=50
    )
    pairs = make_supervised_data_module(tokenizer, arguments)["train_dataset"]
    lengths = pairs.lengths()
    each = [pairs[index] for index in range(len(pairs))]
    assert lengths.source.tolist() == [len(pair["input_ids"]) for pair in each]
    assert lengths.target.tolist() == [len(pair["labels"]) for pair in each]


@every_way
def test_each_pair_has_the_same_loss_however_it_is_batched(
    data: DataModule, model: FlanT5, tmp_path: Path, batching: Batching
) -> None:
    batches = planned(data, batching, tmp_path)
    pairs, alone = batches.pairs, data["data_collator"]
    drawn = list(batches.share(0))
    assert sorted(pair for group in drawn for pair in group) == [*range(len(pairs))]
    with torch.no_grad():
        for group, batch in zip(drawn, batches.loader(batches.share(0)), strict=True):
            expected = sum(model(**alone([pairs[pair]])).loss.item() for pair in group)
            assert model(**batch).loss.item() == pytest.approx(expected, rel=1e-5)
            assert source_tokens(batch) == batches.plan.lengths.source[group].sum()


@every_way
def test_workers_and_pinned_memory_change_no_batch(
    data: DataModule, tmp_path: Path, batching: Batching
) -> None:
    batches = planned(data, batching, tmp_path)
    share = batches.share(0)
    share.set_epoch(1)
    plain = list(batches.loader(share))
    pinned = torch.cuda.is_available()
    shifted = list(batches.loader(share, num_workers=2, prefetch_factor=2, pin_memory=pinned))
    assert len(plain) == len(share)
    assert_same(plain, shifted)


def test_resuming_skips_what_was_trained_on(data: DataModule, tmp_path: Path) -> None:
    batches = planned(data, "packed", tmp_path)
    share = batches.share(0)
    share.set_epoch(2)
    whole = list(batches.loader(share))
    assert_same(whole[5:], list(skip_first_batches(batches.loader(share), 5)))


def assert_same(ours: list[Example], theirs: list[Example]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def few(data: DataModule) -> TrainingBatches:
    """44 pairs, and 64 micro-batches to a step."""
    shape = StepShape(num_processes=2, num_passes=32)
    pairs = data["train_dataset"]
    plan = RunPlan(pairs.lengths(), settings(num_pairs=1, shape=shape))
    return TrainingBatches(plan, pairs, data["data_collator"])


def test_a_filler_has_neither_loss_nor_gradient(few: TrainingBatches, model: FlanT5) -> None:
    drawn = [batch for rank in (0, 1) for batch in few.loader(few.share(rank))]
    fillers = [batch for batch in drawn if (batch["labels"] == IGNORED).all()]
    assert len(drawn) == 64
    assert len(fillers) == 64 - len(few.pairs)
    model.train()
    model(**fillers[0]).loss.backward()
    gradients = [weight.grad for weight in model.parameters()]
    model.zero_grad()
    model.train(False)
    assert all(gradient is not None and not gradient.any() for gradient in gradients)
    with torch.no_grad():
        assert model(**fillers[0]).loss == 0


def test_processes_draw_different_pairs(few: TrainingBatches) -> None:
    shares = [{*_pairs(few, rank)} for rank in (0, 1)]
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] == {*range(len(few.pairs))}


def _pairs(batches: TrainingBatches, rank: int) -> Iterator[int]:
    return (pair for group in batches.share(rank) for pair in group if pair >= 0)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_packed_rows_have_one_length_on_a_gpu(
    data: DataModule, tmp_path: Path, device: str
) -> None:
    plan = planned(data, "packed", tmp_path).plan
    assert plan.row_capacity is not None
    collate = collator_of(plan, data["data_collator"], torch.device(device))
    batches = TrainingBatches(plan, data["train_dataset"], collate)
    shapes = {
        (batch["input_ids"].shape[1], batch["labels"].shape[1])
        for batch in batches.loader(batches.share(0))
    }
    if device == "cuda":
        assert shapes == {(plan.row_capacity.source, plan.row_capacity.target)}
    else:
        assert len(shapes) > 1, "no padding"
