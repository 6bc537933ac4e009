import pytest
import torch

from flant5_train.data.collator import PackedCollator
from tests.flant5_train.models.attention.models import (
    gradients,
    largest_difference,
    model,
    pairs,
    relative_difference,
    stock_losses,
    stock_model,
)

LENGTHS = [(70, 40), (7, 130), (300, 2), (128, 90), (1, 1), (33, 150)]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("capacity", [None, 640], ids=["exact", "padded"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=["fp64", "fp32"]
)
def test_a_packed_row_has_the_losses_and_gradients_of_its_pairs_one_by_one(
    dtype: torch.dtype, tolerance: float, capacity: int | None, checkpointing: bool
) -> None:
    flan, some_pairs = model(dtype=dtype), pairs(LENGTHS)
    theirs = torch.stack(stock_losses(flan, some_pairs))
    their_gradients = gradients(flan, theirs.sum())
    if checkpointing:
        flan.activation_checkpointing_enable()
    batch = PackedCollator(0, capacity, capacity)(some_pairs)
    ours = flan(**batch).loss
    assert relative_difference(ours, theirs.sum()) < tolerance
    assert largest_difference(gradients(flan, ours), their_gradients) < tolerance


def test_each_pair_has_its_own_loss_whatever_stands_beside_it() -> None:
    flan, some_pairs = model(dtype=torch.float64), pairs(LENGTHS)
    theirs = stock_losses(flan, some_pairs)
    for number, loss in enumerate(theirs):
        batch = PackedCollator(0)(some_pairs)
        batch["labels"] = batch["labels"].masked_fill(batch["target_segments"] != number + 1, -100)
        assert relative_difference(flan(**batch).loss, loss) < 1e-10


def test_nothing_of_a_pair_reaches_its_neighbours() -> None:
    flan, some_pairs = model(dtype=torch.float64), pairs(LENGTHS)
    before, after = PackedCollator(0)(some_pairs), PackedCollator(0)(some_pairs)
    after["input_ids"] = after["input_ids"].masked_fill(after["source_segments"] == 3, 5)
    after["decoder_input_ids"] = after["decoder_input_ids"].masked_fill(
        after["target_segments"] == 3, 5
    )
    for batch in (before, after):
        batch["labels"] = batch["labels"].masked_fill(batch["target_segments"] == 3, -100)
    assert flan(**before).loss.item() == flan(**after).loss.item()
    own = {name: row.clone() for name, row in after.items()}
    own["labels"] = PackedCollator(0)(some_pairs)["labels"]
    own["labels"] = own["labels"].masked_fill(own["target_segments"] != 3, -100)
    unchanged = {**own, "input_ids": before["input_ids"]}
    assert (flan(**own).loss - flan(**unchanged).loss).abs().item() > 1


def test_labels_shifted_over_the_whole_row_would_leak() -> None:
    flan, some_pairs = model(dtype=torch.float64), pairs(LENGTHS)
    batch = PackedCollator(0)(some_pairs)
    right = flan(**batch).loss
    batch["decoder_input_ids"] = flan._shift_right(batch["labels"])
    assert (flan(**batch).loss - right).abs().item() > 1


def test_a_padded_batch_has_the_losses_and_gradients_of_its_pairs_one_by_one() -> None:
    flan, some_pairs = model(dtype=torch.float64), pairs(LENGTHS)
    theirs = torch.stack(stock_losses(flan, some_pairs)).sum()
    their_gradients = gradients(flan, theirs)
    sources, targets = ([pair[key] for pair in some_pairs] for key in ("input_ids", "labels"))
    labels = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=-100)
    ours = flan(
        input_ids=torch.nn.utils.rnn.pad_sequence(sources, batch_first=True),
        attention_mask=torch.nn.utils.rnn.pad_sequence(
            [torch.ones_like(source) for source in sources], batch_first=True
        ),
        decoder_input_ids=flan._shift_right(labels),
        labels=labels,
    ).loss
    assert relative_difference(ours, theirs) < 1e-10
    assert largest_difference(gradients(flan, ours), their_gradients) < 1e-10


def test_a_row_says_where_its_pairs_are() -> None:
    rows = [{"input_ids": torch.tensor([5, 1]), "labels": torch.tensor([7, 8, 1])}]
    rows += [{"input_ids": torch.tensor([6, 6, 1]), "labels": torch.tensor([9, -100])}]
    batch = PackedCollator(0, source_capacity=8, target_capacity=6)(rows)
    assert batch["input_ids"].tolist() == [[5, 1, 6, 6, 1, 0, 0, 0]]
    assert batch["source_segments"].tolist() == [[1, 1, 2, 2, 2, 0, 0, 0]]
    assert batch["decoder_input_ids"].tolist() == [[0, 7, 8, 0, 9, 0]]
    assert batch["target_segments"].tolist() == [[1, 1, 1, 2, 2, 0]]
    assert batch["labels"].tolist() == [[7, 8, 1, 9, -100, -100]]


def test_generation_and_logits_are_those_of_the_library() -> None:
    flan = model(dtype=torch.float64).eval()
    (pair,) = pairs([(50, 20)])
    inputs = {"input_ids": pair["input_ids"][None]}
    cached = flan.generate(**inputs, max_new_tokens=12, do_sample=False, use_cache=True)
    plain = flan.generate(**inputs, max_new_tokens=12, do_sample=False, use_cache=False)
    assert cached.tolist() == plain.tolist()
    stock = stock_model(flan).eval()
    theirs = stock.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert cached.tolist() == theirs.tolist()
    logits = (each(**inputs, decoder_input_ids=cached).logits for each in (flan, stock))
    torch.testing.assert_close(*logits, rtol=1e-10, atol=1e-10)
