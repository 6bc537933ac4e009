"""Packed attention pair by pair, for CPUs. A mask over the whole row would also compute the scores
between pairs, and discard most of the work.

Shapes: H heads, Q queries, K keys, C channels of a head, L tokens of one side of a pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch.nn import functional

from flant5_train.packed.relative_bias import RelativeBias

NO_SEGMENT = 0
"""Segment number of the padding after the last example."""


@dataclass(frozen=True, slots=True)
class SegmentKernel:
    """Attention over one packed row, [1, H, Q, C]."""

    source_lengths: Sequence[int]
    """Tokens of each pair's source, in row order. Padding counts as one more pair."""
    target_lengths: Sequence[int]
    encoder_biases: Sequence[torch.Tensor]
    """Bias [H, L, L] of each source, computed once for all layers."""
    decoder_biases: Sequence[torch.Tensor]
    """Bias [H, L, L] of each target, minus infinity above the diagonal."""

    @classmethod
    def of(
        cls,
        source_segments: torch.Tensor,
        target_segments: torch.Tensor,
        *,
        encoder_bias: RelativeBias,
        decoder_bias: RelativeBias,
    ) -> Self:
        """Returns the kernel for a row with these segment numbers, [1, S] and [1, T]."""
        sources, targets = _lengths(source_segments), _lengths(target_segments)
        return cls(
            source_lengths=sources,
            target_lengths=targets,
            encoder_biases=[encoder_bias.matrix_HLL(length) for length in sources],
            decoder_biases=[_causal(decoder_bias.matrix_HLL(length)) for length in targets],
        )

    def encoder(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor:
        return _attend_each(
            query_BHQC.split(self.source_lengths, dim=2),
            key_BHKC.split(self.source_lengths, dim=2),
            value_BHKC.split(self.source_lengths, dim=2),
            self.encoder_biases,
        )

    def decoder(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor:
        return _attend_each(
            query_BHQC.split(self.target_lengths, dim=2),
            key_BHKC.split(self.target_lengths, dim=2),
            value_BHKC.split(self.target_lengths, dim=2),
            self.decoder_biases,
        )

    def cross(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor:
        return _attend_each(
            query_BHQC.split(self.target_lengths, dim=2),
            key_BHKC.split(self.source_lengths, dim=2),
            value_BHKC.split(self.source_lengths, dim=2),
            [None] * len(self.target_lengths),
        )


def _attend_each(
    queries: Sequence[torch.Tensor],
    keys: Sequence[torch.Tensor],
    values: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor | None],
) -> torch.Tensor:
    parts = [
        functional.scaled_dot_product_attention(
            query, key, value, scale=1.0, attn_mask=None if bias is None else bias.to(query.dtype)
        )
        for query, key, value, bias in zip(queries, keys, values, biases, strict=True)
    ]
    return torch.cat(parts, dim=2)


def _lengths(segments: torch.Tensor) -> list[int]:
    _, counts = segments[0].unique_consecutive(return_counts=True)
    lengths: list[int] = counts.tolist()
    return lengths


def _causal(bias_HLL: torch.Tensor) -> torch.Tensor:
    length = bias_HLL.shape[-1]
    is_later = torch.ones(length, length, dtype=torch.bool, device=bias_HLL.device).triu(1)
    return bias_HLL.masked_fill(is_later, float("-inf"))
