"""The attention function that T5's layers call, registered as `flant5`.

In a packed forward pass each layer is given a `kernel`, which keeps the pairs apart; in any other
one (evaluation, generation, padded batches) it is the library's scaled dot-product attention.
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
    """Attention within each pair of a packed row: of sources to themselves, of targets to
    themselves (causal) and of targets to their own source. Scores are not scaled, as T5 has it."""

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
    """[B, Q, H, C], and no weights. The parameters are those that transformers passes."""
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
    """Make `model.set_attn_implementation("flant5")` possible."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
