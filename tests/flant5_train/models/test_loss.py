import pytest
import torch
from torch import nn
from torch.nn import functional

from flant5_train.models.loss import IGNORED, num_right, summed_loss

TOKENS, WIDTH, VOCABULARY = 53, 12, 40


def layer_and_tokens(dtype: torch.dtype) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    layer = nn.Linear(WIDTH, VOCABULARY, bias=False, dtype=dtype)
    hidden = torch.randn(TOKENS, WIDTH, dtype=dtype, requires_grad=True)
    labels = torch.randint(VOCABULARY, (TOKENS,))
    labels[::7] = IGNORED
    return layer, hidden, labels


class Wrapped(nn.Module):
    """As an adapter wraps a layer."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(hidden)
        return logits


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["plain", "wrapped"])
@pytest.mark.parametrize("chunk", [1, 8, 1000])
def test_the_loss_in_chunks_is_the_loss_of_all_logits(chunk: int, is_wrapped: bool) -> None:
    layer, hidden, labels = layer_and_tokens(torch.float64)
    whole = functional.cross_entropy(layer(hidden), labels, ignore_index=IGNORED, reduction="sum")
    expected = torch.autograd.grad(whole / 3, [hidden, layer.weight])
    used = Wrapped(layer) if is_wrapped else layer
    ours = summed_loss(hidden, labels, output_layer=used, chunk=chunk)
    found = torch.autograd.grad(ours / 3, [hidden, layer.weight])
    torch.testing.assert_close(ours, whole, rtol=1e-12, atol=0)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("trained", ["hidden", "weight"])
def test_only_what_is_trained_gets_a_gradient(trained: str) -> None:
    layer, hidden, labels = layer_and_tokens(torch.float32)
    tensors = {"hidden": hidden, "weight": layer.weight}
    for name, tensor in tensors.items():
        tensor.requires_grad_(name == trained)
    summed_loss(hidden, labels, output_layer=layer).backward()
    assert {name for name, tensor in tensors.items() if tensor.grad is not None} == {trained}


def test_a_batch_without_targets_has_no_loss_and_no_gradient() -> None:
    layer, hidden, labels = layer_and_tokens(torch.float32)
    loss = summed_loss(hidden, torch.full_like(labels, IGNORED), output_layer=layer)
    loss.backward()
    assert loss.item() == 0
    assert hidden.grad is not None
    assert layer.weight.grad is not None
    assert not hidden.grad.any()
    assert not layer.weight.grad.any()


def test_under_bfloat16_sums_stay_in_float32() -> None:
    layer, hidden, labels = layer_and_tokens(torch.float32)
    exact = summed_loss(hidden, labels, output_layer=layer)
    with torch.autocast("cpu", torch.bfloat16):
        rough = summed_loss(hidden, labels, output_layer=layer, chunk=8)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=1e-2)
    rough.backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


def test_right_tokens_are_counted_without_the_ignored() -> None:
    layer, hidden, _ = layer_and_tokens(torch.float32)
    likeliest = layer(hidden).argmax(-1)
    assert num_right(hidden, likeliest, output_layer=layer, chunk=8) == TOKENS
    likeliest[:5] = IGNORED
    likeliest[5:8] = (likeliest[5:8] + 1) % VOCABULARY
    assert num_right(hidden, likeliest, output_layer=layer, chunk=8) == TOKENS - 8
