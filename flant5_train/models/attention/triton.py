"""Packed attention for GPUs, in one Triton kernel launch over the whole row.

The kernels are differentiable custom operators, which `torch.compile` does not trace into. Imported
on machines with a GPU only.

Shapes: H heads, Q queries, K keys, C channels of a head, B buckets, R distances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import library
from torch.utils.flop_counter import register_flop_formula

from flant5_train.models.attention import triton_kernels
from flant5_train.models.attention import triton_kernels as backward
from flant5_train.models.attention.segments import RelativeBias, Spans

# The fastest of eight configurations, or within 2 % of it, on an H100 with Flan-T5-XL's heads: see
# the table in docs/benchmarks.md.
_FORWARD = {"QUERIES": 64, "KEYS": 64, "num_warps": 4, "num_stages": 3}
_QUERY_GRADIENT = {"QUERIES": 64, "KEYS": 32, "num_warps": 4, "num_stages": 3}
_KEY_GRADIENT = {"QUERIES": 32, "KEYS": 64, "num_warps": 4, "num_stages": 3}


@library.custom_op("flant5::packed_attention", mutates_args=())
def packed_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    weight: torch.Tensor | None,
    table: torch.Tensor | None,
    buckets: torch.Tensor | None,
    spans: list[torch.Tensor],
    is_causal: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the attended values [Q, H, C] and each query's normalizer [H, Q].

    `query` [Q, H, C], `key` and `value` [K, H, C] are contiguous; Q and K are multiples of 128.
    The bias is given by `weight` [B, H], which receives the gradient. `table` [H, R] holds the same
    bias at each distance. `buckets` [B + 1, 2] holds the distances of each bucket, then the two
    outermost buckets. All three are None if there is no bias. `spans` are those of `Spans`.
    """
    num_queries, num_heads, num_channels = query.shape
    attended = torch.empty_like(query)
    normalizer = query.new_empty(num_heads, num_queries, dtype=torch.float32)
    triton_kernels.forward[(num_queries // _FORWARD["QUERIES"], num_heads)](
        query, key, value, table, spans[0], spans[1], attended, normalizer, num_queries,
        HAS_BIAS=table is not None, REACH=_reach(table), IS_CAUSAL=is_causal,
        NUM_HEADS=num_heads, NUM_CHANNELS=num_channels, **_FORWARD,
    )  # fmt: skip
    return attended, normalizer


@library.custom_op("flant5::packed_attention_backward", mutates_args=())
def packed_attention_backward(
    slope: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    table: torch.Tensor | None,
    buckets: torch.Tensor | None,
    spans: list[torch.Tensor],
    attended: torch.Tensor,
    normalizer: torch.Tensor,
    is_causal: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the gradients of query, key, value and the bias's weight (empty without a bias)."""
    (num_queries, num_heads, num_channels), num_keys = query.shape, len(key)
    slope = slope.contiguous()
    shape = {"NUM_HEADS": num_heads, "NUM_CHANNELS": num_channels}
    bias = {"HAS_BIAS": table is not None, "REACH": _reach(table), "IS_CAUSAL": is_causal}
    mean = torch.empty_like(normalizer)
    backward.softmax_share[(num_queries // 64, num_heads)](
        slope, attended, mean, num_queries, **shape, QUERIES=64
    )
    gradients = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
    num_blocks = num_queries // _QUERY_GRADIENT["QUERIES"]
    num_buckets = 1 if buckets is None else len(buckets) - 1
    sums = query.new_empty(num_blocks, num_heads, num_buckets, dtype=torch.float32)
    backward.query_gradient[(num_blocks, num_heads)](
        query, key, value, table, spans[0], spans[1], slope, normalizer, mean, gradients[0],
        buckets, None if buckets is None else buckets[-1], sums, num_queries,
        NUM_BUCKETS=num_buckets, **bias, **shape, **_QUERY_GRADIENT,
    )  # fmt: skip
    backward.key_gradient[(num_keys // _KEY_GRADIENT["KEYS"], num_heads)](
        query, key, value, table, *spans, slope, normalizer, mean, *gradients[1:], num_queries,
        **bias, **shape, **_KEY_GRADIENT,
    )  # fmt: skip
    return *gradients, sums.new_empty(0) if table is None else sums.sum(0).T.contiguous()


@register_flop_formula(torch.ops.flant5.packed_attention)
def _flops(query: Sequence[int], key: Sequence[int], *_: Any, **__: Any) -> int:
    """Counts every query with every key. Recomputation policies for activations then treat this
    operator as expensive, which it is. `flant5_train.estimates.flops` counts the real work of
    pairs."""
    num_queries, num_heads, num_channels = query
    return 4 * num_queries * key[0] * num_heads * num_channels


def _reach(table: torch.Tensor | None) -> int:
    return 0 if table is None else table.shape[1] // 2


@packed_attention.register_fake
def _result_shape(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    weight: torch.Tensor | None,
    table: torch.Tensor | None,
    buckets: torch.Tensor | None,
    spans: list[torch.Tensor],
    is_causal: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    num_queries, num_heads, _ = query.shape
    return torch.empty_like(query), query.new_empty(num_heads, num_queries, dtype=torch.float32)


@packed_attention_backward.register_fake
def _gradient_shapes(
    slope: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    table: torch.Tensor | None,
    buckets: torch.Tensor | None,
    spans: list[torch.Tensor],
    attended: torch.Tensor,
    normalizer: torch.Tensor,
    is_causal: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    shape = [0] if buckets is None else [len(buckets) - 1, query.shape[1]]
    weight = query.new_empty(shape, dtype=torch.float32)
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), weight


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    query, key, value, _, table, buckets, spans, ctx.is_causal = inputs
    ctx.save_for_backward(query, key, value, table, buckets, *spans, *output)


def _backward(ctx: Any, slope: torch.Tensor, _: torch.Tensor) -> Any:
    query, key, value, table, buckets, *spans, attended, normalizer = ctx.saved_tensors
    *gradients, weight = packed_attention_backward(
        slope, query, key, value, table, buckets, spans, attended, normalizer, ctx.is_causal
    )
    return *gradients, None if table is None else weight, None, None, [None] * len(spans), None


packed_attention.register_autograd(_backward, setup_context=_remember)


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
