"""Packed attention for GPUs, in one kernel launch over the whole row.

Shapes: H heads, Q queries, K keys, C channels of a head, B buckets, R distances.
"""

from dataclasses import dataclass
from typing import Self

import torch

from flant5_train.models.attention.triton import packed_attention
from flant5_train.packed.relative_bias import RelativeBias
from flant5_train.packed.spans import Spans


@dataclass(frozen=True, slots=True)
class _Bias:
    weight_BH: torch.Tensor
    table_HR: torch.Tensor
    buckets: torch.Tensor

    @classmethod
    def of(cls, bias: RelativeBias) -> Self:
        outermost = bias.bucket_R[[0, -1]].to(torch.int32)
        buckets = torch.cat([bias.distances_B2(), outermost[None]])
        return cls(bias.weight_BH, bias.table_HR().detach().float(), buckets)


@dataclass(frozen=True, slots=True)
class TritonKernel:
    """Attention over one packed row, [1, H, Q, C]."""

    encoder_bias: _Bias
    decoder_bias: _Bias
    encoder_spans: Spans
    decoder_spans: Spans
    cross_spans: Spans

    @classmethod
    def of(
        cls,
        source_segments: torch.Tensor,
        target_segments: torch.Tensor,
        *,
        encoder_bias: RelativeBias,
        decoder_bias: RelativeBias,
    ) -> Self:
        """Returns the kernel for a row with these segment numbers, [1, S] and [1, T]; S and T are
        multiples of 128."""
        return cls(
            encoder_bias=_Bias.of(encoder_bias),
            decoder_bias=_Bias.of(decoder_bias),
            encoder_spans=Spans.of(source_segments, source_segments),
            decoder_spans=Spans.of(target_segments, target_segments),
            cross_spans=Spans.of(target_segments, source_segments),
        )

    def encoder(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor:
        return _attend(
            (query_BHQC, key_BHKC, value_BHKC), self.encoder_spans, bias=self.encoder_bias
        )

    def decoder(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor:
        return _attend(
            (query_BHQC, key_BHKC, value_BHKC),
            self.decoder_spans,
            bias=self.decoder_bias,
            is_causal=True,
        )

    def cross(
        self, query_BHQC: torch.Tensor, key_BHKC: torch.Tensor, value_BHKC: torch.Tensor
    ) -> torch.Tensor:
        return _attend((query_BHQC, key_BHKC, value_BHKC), self.cross_spans)


def _attend(
    rows: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    spans: Spans,
    *,
    bias: _Bias | None = None,
    is_causal: bool = False,
) -> torch.Tensor:
    query, key, value = (row.squeeze(0).transpose(0, 1).contiguous() for row in rows)
    attended: torch.Tensor
    attended, _ = packed_attention(
        query,
        key,
        value,
        None if bias is None else bias.weight_BH,
        None if bias is None else bias.table_HR,
        None if bias is None else bias.buckets,
        spans.as_list(),
        is_causal,
    )
    return attended.transpose(0, 1).unsqueeze(0)
