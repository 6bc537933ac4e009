"""T5's encoder and decoder over a packed row.

They compute the same as the library's `T5Stack.forward`, without masks and without materialized
position biases. Shapes: S source tokens, T target tokens, D model width.
"""

import torch
from transformers.models.t5.modeling_t5 import T5Stack

from flant5_train.models.attention.segments import SegmentKernel
from flant5_train.packed.attention import Kernel
from flant5_train.packed.relative_bias import relative_bias

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
        from flant5_train.packed.triton_kernel import TritonKernel

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
