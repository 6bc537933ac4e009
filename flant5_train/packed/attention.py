"""Attention function called by T5's layers, registered as `flant5`.

In a packed forward pass each layer receives a `kernel`, which keeps the pairs apart. All others
(evaluation, generation, padded batches) use the library's scaled dot-product attention.
Shapes: B batch, H heads, Q queries, K keys, C channels of a head.
"""

from typing import Any, Protocol

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.t5.modeling_t5 import T5Attention

NAME = "flant5"


class Kernel(Protocol):
    """Attention within each pair of a packed row: source self-attention, causal target
    self-attention, and cross-attention from a target to its source. Scores are not scaled, as in
    T5."""

    def encoder(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor: ...

    def decoder(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor: ...

    def cross(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor: ...


def attend(
    module: T5Attention,
    query_BHQC: torch.Tensor,
    key_BHKC: torch.Tensor,
    value_BHKC: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    kernel: Kernel | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns the attended values [B, Q, H, C], and None for the attention weights. transformers
    defines the parameters."""
    if kernel is None:
        stock: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query_BHQC, key_BHKC, value_BHKC, attention_mask, **kwargs
        )
        return stock
    if not module.is_decoder:
        function = kernel.encoder
    elif module.is_causal:
        function = kernel.decoder
    else:
        function = kernel.cross
    return function(query_BHQC, key_BHKC, value_BHKC).transpose(1, 2), None


def register() -> None:
    """Registers the function for `model.set_attn_implementation("flant5")`."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
