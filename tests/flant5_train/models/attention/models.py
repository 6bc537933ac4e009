"""A small T5 in which attention and its bias matter, and pairs of random tokens for it."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration

from flant5_train.models.flan_t5 import FlanT5
from flant5_train.models.loss import IGNORED

Pairs = Sequence[dict[str, torch.Tensor]]
VOCABULARY = 512


def config(*, d_kv: int = 16) -> T5Config:
    settings: dict[str, Any] = {"tie_word_embeddings": False, "decoder_start_token_id": 0}
    return T5Config(
        vocab_size=VOCABULARY,
        d_model=64,
        d_kv=d_kv,
        d_ff=128,
        num_layers=3,
        num_decoder_layers=3,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        **settings,
    )


def model(*, dtype: torch.dtype = torch.float32, d_kv: int = 16) -> Any:
    torch.manual_seed(0)
    made: Any = FlanT5(config(d_kv=d_kv))
    _untie(made)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "relative_attention_bias" in name:
                weight.normal_(0, 2.0)
            elif name.endswith(("SelfAttention.q.weight", "EncDecAttention.q.weight")):
                weight.mul_(4)
    return made.to(dtype).train()


def _untie(made: Any) -> None:
    """Flan-T5 has an output layer of its own."""
    made.config.tie_word_embeddings = False
    made.lm_head.weight = torch.nn.Parameter(made.lm_head.weight.detach().clone())


def pairs(lengths: Sequence[tuple[int, int]]) -> Pairs:
    chance = torch.Generator().manual_seed(1)

    def tokens(count: int) -> torch.Tensor:
        return torch.randint(2, VOCABULARY, (count,), generator=chance)

    return [{"input_ids": tokens(source), "labels": tokens(target)} for source, target in lengths]


def stock_model(flan: Any) -> Any:
    """The library's T5 with eager attention and the very parameters of `flan`."""
    stock: Any = T5ForConditionalGeneration(config(d_kv=flan.config.d_kv))
    _untie(stock)
    stock.set_attn_implementation("eager")
    for (name, _), weight in zip([*stock.named_parameters()], [*flan.parameters()], strict=True):
        owner, _, leaf = name.rpartition(".")
        setattr(stock.get_submodule(owner), leaf, weight)
    stock.encoder.embed_tokens.weight = stock.decoder.embed_tokens.weight = stock.shared.weight
    return stock


def stock_losses(flan: Any, some_pairs: Pairs) -> list[torch.Tensor]:
    """Each pair's loss by the library's T5, one pair at a time. The gradients of the weights are
    added to those of `flan`."""
    stock = stock_model(flan)
    losses = []
    for pair in some_pairs:
        labels = pair["labels"]
        logits = stock(input_ids=pair["input_ids"][None], labels=labels[None]).logits[0]
        losses.append(
            torch.nn.functional.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
        )
    return losses


def relative_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    exact = theirs.item()
    return abs(ours.item() - exact) / abs(exact)


def gradients(flan: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    flan.zero_grad()
    loss.backward()
    return {
        name: weight.grad.clone()
        for name, weight in flan.named_parameters()
        if weight.grad is not None
    }


def largest_difference(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Of all gradients, relative to the largest number of each."""
    assert ours.keys() == theirs.keys()
    return max(
        float((ours[name].cpu() - theirs[name].cpu()).abs().max() / theirs[name].abs().max())
        for name in ours
    )
