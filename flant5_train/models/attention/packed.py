"""T5's encoder and decoder over a packed row, and the attention function of their layers.

They compute the same as the library's `T5Stack.forward`, without masks and without materialized
position biases. T5's layers call the function, which is registered as `flant5`. In a packed forward
pass each layer receives a `kernel`, which keeps the pairs apart. All others (evaluation,
generation, padded batches) use the library's scaled dot-product attention.

Shapes: B batch, H heads, Q queries, K keys, C channels of a head, S source tokens, T target tokens,
D model width.
"""

from typing import Any, Protocol

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.t5.modeling_t5 import T5Attention, T5Stack

from flant5_train.models.attention.segments import SegmentKernel, relative_bias

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


_WIDTHS_OF_MATRIX_UNITS = (16, 32, 64, 128)
"""Supported widths of a head. Every published Flan-T5 has 64."""


def kernel_for(
    encoder: T5Stack,
    decoder: T5Stack,
    *,
    source_segments: torch.Tensor,
    target_segments: torch.Tensor,
) -> Kernel:
    """Returns the kernel for the row's device, for all layers of one forward pass."""
    biases = {"encoder_bias": relative_bias(encoder), "decoder_bias": relative_bias(decoder)}
    if source_segments.is_cuda and encoder.config.d_kv in _WIDTHS_OF_MATRIX_UNITS:
        # Imported here: Triton is needed on GPUs only.
        from flant5_train.models.attention.triton import TritonKernel

        return TritonKernel.of(source_segments, target_segments, **biases)
    return SegmentKernel.of(source_segments, target_segments, **biases)


def encode(stack: T5Stack, input_ids: torch.Tensor, *, kernel: Kernel) -> torch.Tensor:
    """Returns the encoder's output [1, S, D] for ids [1, S]."""
    hidden = stack.dropout(stack.embed_tokens(input_ids))
    for block in stack.block:
        hidden, *_ = block(hidden, None, _no_bias(hidden), kernel=kernel)
    return _finished(stack, hidden)


def decode(
    stack: T5Stack, input_ids: torch.Tensor, *, encoded_SD: torch.Tensor, kernel: Kernel
) -> torch.Tensor:
    """Returns the decoder's output [1, T, D] for ids [1, T] and the encoder's output [1, S, D]."""
    hidden = stack.dropout(stack.embed_tokens(input_ids))
    none = _no_bias(hidden)
    for block in stack.block:
        hidden, *_ = block(hidden, None, none, encoded_SD, None, none, kernel=kernel)
    return _finished(stack, hidden)


def _finished(stack: T5Stack, hidden: torch.Tensor) -> torch.Tensor:
    finished: torch.Tensor = stack.dropout(stack.final_layer_norm(hidden))
    return finished


def _no_bias(hidden: torch.Tensor) -> torch.Tensor:
    """Returns an empty bias, since the kernel adds it. With None each layer would materialize
    one."""
    return hidden.new_empty(0)
