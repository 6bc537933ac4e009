"""Packed attention in one kernel over the whole row, for GPUs: blocks that no pair touches are
skipped, and the position bias is looked up where it is needed.

Shapes: H heads, Q queries, K keys, C channels of a head.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import torch
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from flant5_train.packed.bias_gradient import FlexBias, with_bias_gradient
from flant5_train.packed.block_mask import block_mask
from flant5_train.packed.relative_bias import RelativeBias


@dataclass(frozen=True, slots=True)
class FlexKernel:
    """Attention over one packed row, [1, H, Q, C]."""

    encoder_bias: FlexBias
    decoder_bias: FlexBias
    encoder_mask: BlockMask
    decoder_mask: BlockMask
    cross_mask: BlockMask

    @classmethod
    def of(
        cls,
        source_segments: torch.Tensor,
        target_segments: torch.Tensor,
        *,
        encoder_bias: RelativeBias,
        decoder_bias: RelativeBias,
    ) -> Self:
        """For the row with these segment numbers, [1, S] and [1, T], whole blocks of 128."""
        return cls(
            encoder_bias=FlexBias.of(encoder_bias, source_segments),
            decoder_bias=FlexBias.of(decoder_bias, target_segments, is_causal=True),
            encoder_mask=block_mask(source_segments, source_segments),
            decoder_mask=block_mask(target_segments, target_segments, is_causal=True),
            cross_mask=block_mask(target_segments, source_segments),
        )

    def encoder(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor:
        return _attend_biased(
            query_BHQC, key_BHKC, value_BHKC, mask=self.encoder_mask, bias=self.encoder_bias
        )

    def decoder(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor:
        return _attend_biased(
            query_BHQC, key_BHKC, value_BHKC, mask=self.decoder_mask, bias=self.decoder_bias
        )

    def cross(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor:
        attended: torch.Tensor = _compiled_flex()(
            query_BHQC, key_BHKC, value_BHKC, block_mask=self.cross_mask, scale=1.0
        )
        return attended


def _attend_biased(
    query_BHQC: torch.Tensor,
    key_BHKC: torch.Tensor,
    value_BHKC: torch.Tensor,
    *,
    mask: BlockMask,
    bias: FlexBias,
) -> torch.Tensor:
    table_HR, reach = bias.table_HR, bias.table_HR.shape[1] // 2

    def add_bias(
        score: torch.Tensor,
        batch: torch.Tensor,
        head: torch.Tensor,
        query: torch.Tensor,
        key: torch.Tensor,
    ) -> torch.Tensor:
        biased: torch.Tensor = score + table_HR[head, (key - query).clamp(-reach, reach) + reach]
        return biased

    attended_BHQC: torch.Tensor
    attended_BHQC, aux = _compiled_flex()(
        query_BHQC,
        key_BHKC,
        value_BHKC,
        score_mod=add_bias,
        block_mask=mask,
        scale=1.0,
        return_aux=AuxRequest(lse=True),
    )
    if not bias.weight_BH.requires_grad:
        return attended_BHQC
    return with_bias_gradient(
        attended_BHQC, query_BHQC, key_BHKC, value_BHKC, normalizer_BHQ=aux.lse, bias=bias
    )


@cache
def _compiled_flex() -> Any:
    # Uncompiled it would hold all scores of the row.
    return torch.compile(flex_attention, dynamic=False)
