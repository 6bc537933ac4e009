"""Loss per target token, exact for any split into steps and processes.

The logits are never all in memory at once.

Shapes: N target tokens, D model width, V vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

IGNORED = -100
"""Label of positions without a loss."""
CHUNK = 2048
"""Tokens per chunk of logits: 0.26 GB in float32 with T5's vocabulary."""


def summed_loss(
    hidden_ND: torch.Tensor, labels_N: torch.Tensor, *, output_layer: nn.Module, chunk: int = CHUNK
) -> torch.Tensor:
    """Returns the summed negative log-likelihood of all labels except -100, at least in float32.

    Computes logits for `chunk` tokens at a time.
    """
    if type(output_layer) is nn.Linear:
        loss: torch.Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden_ND, output_layer.weight, labels_N, chunk
        )
        return loss
    # A layer wrapped by an adapter: call its own forward, again in the backward pass.
    total = hidden_ND.new_zeros((), dtype=_loss_dtype(hidden_ND))
    for part in _parts(len(labels_N), chunk):
        total = total + checkpoint(
            _loss_of_part, output_layer, hidden_ND[part], labels_N[part], use_reentrant=False
        )
    return total


def num_right(
    hidden_ND: torch.Tensor, labels_N: torch.Tensor, *, output_layer: nn.Module, chunk: int = CHUNK
) -> torch.Tensor:
    """Returns the number of labels, except -100, that the model ranks most likely.

    The model sees the correct previous tokens.
    """
    total = labels_N.new_zeros(())
    for part in _parts(len(labels_N), chunk):
        total += (output_layer(hidden_ND[part]).argmax(-1) == labels_N[part]).sum()
    return total


def _loss_of_part(
    layer: nn.Module, hidden_ND: torch.Tensor, labels_N: torch.Tensor
) -> torch.Tensor:
    logits_NV = layer(hidden_ND)
    return functional.cross_entropy(
        logits_NV.to(_loss_dtype(logits_NV)), labels_N, ignore_index=IGNORED, reduction="sum"
    )


class _LinearCrossEntropy(torch.autograd.Function):
    """Fused output layer and cross-entropy.

    The forward pass computes the gradients from each chunk's logits, so nothing is computed twice.
    Modelled on the fused kernels of LinkedIn's Liger, in plain torch.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        weight_VD: torch.Tensor,
        labels_N: torch.Tensor,
        chunk: int,
    ) -> torch.Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        dtypes = hidden_ND.dtype, weight_VD.dtype
        dtype, device = hidden_ND.dtype, hidden_ND.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        total = hidden_ND.new_zeros((), dtype=_loss_dtype(hidden_ND))
        hidden_gradient = torch.empty_like(hidden_ND) if wants_hidden else None
        # Summed in the precision of the loss, even if the weight is gathered in bfloat16.
        weight_gradient = torch.zeros_like(weight_VD, dtype=total.dtype) if wants_weight else None
        with torch.autocast(device, enabled=False):
            weight_VD = weight_VD.to(dtype)
            for part in _parts(len(labels_N), chunk):
                part_ND = hidden_ND[part].to(dtype)
                logits_NV = (part_ND @ weight_VD.T).to(total.dtype)
                loss, slope_NV = _loss_and_slope(logits_NV, labels_N[part])
                total += loss
                slope_NV = slope_NV.to(dtype)
                if hidden_gradient is not None:
                    hidden_gradient[part] = slope_NV @ weight_VD
                if weight_gradient is not None:
                    weight_gradient += slope_NV.T @ part_ND
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        ctx.dtypes = dtypes
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        scaled = (
            None if gradient is None else (gradient * gradients[0]).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return *scaled, None, None


def _loss_and_slope(
    logits_NV: torch.Tensor, labels_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the summed loss and its gradient by logit: the probability, minus 1 at the label."""
    is_target_N1 = (labels_N != IGNORED)[:, None]
    label_N1 = labels_N.clamp_min(0)[:, None]
    normalizer_N1 = logits_NV.logsumexp(-1, keepdim=True)
    loss = ((normalizer_N1 - logits_NV.gather(1, label_N1)) * is_target_N1).sum()
    slope_NV = (logits_NV - normalizer_N1).exp()
    slope_NV = slope_NV.scatter_add(1, label_N1, -torch.ones_like(normalizer_N1))
    return loss, slope_NV * is_target_N1


def _loss_dtype(tensor: torch.Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
