"""LoRA inside the model: what is trained, what a merge leaves."""

from pathlib import Path
from typing import Any

import torch
from transformers import T5ForConditionalGeneration

from flant5_train.data.collator import DataCollatorForSupervisedDataset, PackedCollator
from flant5_train.models.loading import load_model
from flant5_train.models.lora import AdapterRecord, adapter_tensors, attach, merge
from flant5_train.models.tokenizer import load_tokenizer
from tests.flant5_train.adapter_runs import logits

NUM_NEW_TOKENS = 269
"""What lossless tokenization adds to the trained vocabulary."""
QUESTION = torch.tensor([[17, 1105, 1250, 301, 1]])
ROWS = "shared.token_adapter.trainable_tokens_delta"


def test_attaching_changes_nothing_and_merging_leaves_a_plain_model(base: Path) -> None:
    model = load_model(base, load_tokenizer(base))
    before, names = logits(model), model.state_dict().keys()
    attach(model, a_record(base), seed=1)
    assert torch.equal(logits(model), before)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or "trainable_tokens" in name for name in trained)
    for tensor in adapter_tensors(model).values():
        tensor.add_(0.01)
    changed, answer = logits(model), generated(model)
    merge(model)
    assert type(model) is type(load_model(base, load_tokenizer(base)))
    assert model.state_dict().keys() == names
    torch.testing.assert_close(logits(model), changed, rtol=1e-5, atol=1e-5)
    assert not torch.equal(changed, before)
    assert generated(model) == answer


def test_packed_and_padded_batches_give_an_adapter_the_same_gradients(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    model = load_model(base, tokenizer)
    attach(model, a_record(base), seed=0)
    for tensor in adapter_tensors(model).values():
        tensor.add_(0.01)  # from its start, half of an addition gets no gradient
    drawn = torch.Generator().manual_seed(0)
    pairs = [
        {
            "input_ids": torch.randint(2, 1369, (num_source,), generator=drawn),
            "labels": torch.randint(2, 1369, (num_target,), generator=drawn),
        }
        for num_source, num_target in ((9, 5), (20, 11), (4, 3))
    ]
    packed = gradients(model, PackedCollator(pad_token_id=0)(pairs))
    padded = gradients(model, DataCollatorForSupervisedDataset(tokenizer)(pairs))
    assert packed.keys() == padded.keys()
    for name, gradient in packed.items():
        assert (gradient - padded[name]).norm() < 1e-4 * gradient.norm(), name


def gradients(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model.train()(**batch).loss.backward()
    trained = ((name, weight.grad) for name, weight in model.named_parameters())
    return {name: gradient for name, gradient in trained if gradient is not None}


def test_the_same_seed_gives_the_same_additions(base: Path) -> None:
    first, second, other = (additions(base, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def additions(base: Path, *, seed: int) -> dict[str, torch.Tensor]:
    model = load_model(base, load_tokenizer(base))
    attach(model, a_record(base), seed=seed)
    return adapter_tensors(model)


def a_record(base: Path) -> AdapterRecord:
    return AdapterRecord(
        base=str(base),
        num_base_tokens=1100,
        num_tokens=1100 + NUM_NEW_TOKENS,
        rank=2,
        alpha=4,
        dropout=0.0,
        target_modules=("q", "wo"),
    )


def test_encoder_and_decoder_look_new_tokens_up_in_the_same_trained_rows(base: Path) -> None:
    model: T5ForConditionalGeneration = load_model(base, load_tokenizer(base))
    attach(model, a_record(base), seed=1)
    (rows,) = (p for name, p in model.named_parameters() if name.startswith(ROWS))
    ids = torch.tensor([[1200, 7]])
    for stack in (model.encoder, model.decoder):
        (gradient,) = torch.autograd.grad(stack.embed_tokens(ids).sum(), rows)
        assert gradient[100].eq(1).all()
        assert gradient.sum() == 32, "and no other row"


def generated(model: Any) -> list[int]:
    """`generate` is typed for classes that mypy can't see."""
    ids: list[int] = model.generate(QUESTION, max_new_tokens=8)[0].tolist()
    return ids
