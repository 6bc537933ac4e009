"""Packed attention pair by pair, for CPUs.

A mask over the whole row would also compute the scores between pairs, and discard most of the work.
Spans give the keys seen by each query, and the queries that see each key.

T5's relative position bias is one number per head and distance. Stock T5 materializes it for every
query and key, [1, H, L, L], although it depends only on their distance and is constant beyond about
100 tokens.

Shapes: H heads, Q queries, K keys, C channels of a head, L tokens of one side of a pair, B buckets,
R = 2 * reach + 1 distances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import torch
from torch.nn import functional
from transformers.models.t5.modeling_t5 import T5Attention, T5Stack


@dataclass(frozen=True, slots=True)
class RelativeBias:
    """Position bias of a stack, shared by all its layers."""

    weight_BH: torch.Tensor
    """Trained weights: one number per bucket of distances and head."""
    bucket_R: torch.Tensor
    """The bucket of each distance (key minus query), from -reach to reach; int64."""

    @property
    def reach(self) -> int:
        """The distance beyond which the bias is constant."""
        return len(self.bucket_R) // 2

    def table_HR(self) -> torch.Tensor:
        """Returns the bias of each head at each distance, contiguous; differentiable."""
        return self.weight_BH[self.bucket_R].T.contiguous()

    def distances_B2(self) -> torch.Tensor:
        """Returns the smallest and largest distance of each bucket, int32. A bucket's distances are
        contiguous; an empty bucket has 0 and -1."""
        distance_R = torch.arange(-self.reach, self.reach + 1, device=self.bucket_R.device)
        none_B = distance_R.new_zeros(len(self.weight_BH))
        # The outermost buckets extend beyond the reach.
        far = torch.iinfo(torch.int32).max // 2
        downwards_R = torch.cat([distance_R.new_tensor([-far]), distance_R[1:]])
        upwards_R = torch.cat([distance_R[:-1], distance_R.new_tensor([far])])
        least_B = none_B.scatter_reduce(0, self.bucket_R, downwards_R, "amin", include_self=False)
        greatest_B = (none_B - 1).scatter_reduce(
            0, self.bucket_R, upwards_R, "amax", include_self=False
        )
        return torch.stack([least_B, greatest_B], dim=1).to(torch.int32)

    def matrix_HLL(self, length: int) -> torch.Tensor:
        """Returns the bias of every query and key of a sequence of `length` tokens."""
        distance_LL = _distances(length, self.bucket_R.device).clamp(-self.reach, self.reach)
        return self.weight_BH[self.bucket_R[distance_LL + self.reach]].permute(2, 0, 1)


def relative_bias(stack: T5Stack) -> RelativeBias:
    """Returns the bias of a stack's self-attention."""
    first: Any = stack.block[0]
    attention: T5Attention = first.layer[0].SelfAttention
    embedding = attention.relative_attention_bias
    num_buckets = attention.relative_attention_num_buckets
    device = embedding.weight.device
    buckets = _buckets(
        bidirectional=not stack.is_decoder,
        num_buckets=num_buckets,
        max_distance=attention.relative_attention_max_distance,
        device=device,
    )
    # The module is called instead of reading its weight: sharding and adapters hook the call.
    return RelativeBias(embedding(torch.arange(num_buckets, device=device)), buckets)


@cache
def _buckets(
    *, bidirectional: bool, num_buckets: int, max_distance: int, device: torch.device
) -> torch.Tensor:
    buckets: torch.Tensor = T5Attention._relative_position_bucket(
        torch.arange(-max_distance, max_distance + 1),
        bidirectional=bidirectional,
        num_buckets=num_buckets,
        max_distance=max_distance,
    )
    # The outermost buckets begin before the largest distance: the rest of the table is constant.
    changes = buckets.diff().nonzero()[:, 0] - max_distance
    reach = int(torch.maximum(-changes, changes + 1).max())
    return buckets[max_distance - reach : max_distance + reach + 1].to(device)


def _distances(length: int, device: torch.device) -> torch.Tensor:
    position_L = torch.arange(length, device=device)
    return position_L[None, :] - position_L[:, None]


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


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans as first position and end (exclusive), int32. An empty span sees nothing."""

    key_start_Q: torch.Tensor
    key_end_Q: torch.Tensor
    query_start_K: torch.Tensor
    query_end_K: torch.Tensor

    @classmethod
    def of(cls, query_segments: torch.Tensor, key_segments: torch.Tensor) -> Self:
        """Returns the spans for rows with these segment numbers, [1, Q] and [1, K]. Padding sees
        only padding."""
        query_Q, key_K = _numbered(query_segments[0]), _numbered(key_segments[0])
        return cls(*_bounds(query_Q, key_K), *_bounds(key_K, query_Q))

    def as_list(self) -> list[torch.Tensor]:
        """Returns the tensors in the order of the fields."""
        return [self.key_start_Q, self.key_end_Q, self.query_start_K, self.query_end_K]


def _bounds(own: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.searchsorted(other, own, out_int32=True),
        torch.searchsorted(other, own, out_int32=True, right=True),
    )


def _numbered(segments_L: torch.Tensor) -> torch.Tensor:
    """Returns non-decreasing segment numbers: padding, which comes last, gets the highest."""
    highest = torch.iinfo(segments_L.dtype).max
    return segments_L.masked_fill(segments_L == NO_SEGMENT, highest).contiguous()
