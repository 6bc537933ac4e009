"""Attention over a packed row in Triton: the forward pass (see `triton_tiles`)."""

import triton
import triton.language as tl

from flant5_train.packed.triton_tiles import FAR, NEAR, NO_BIAS, biased, is_seen, near_keys, tile


@triton.jit  # type: ignore[untyped-decorator]
def _forward_part(  # type: ignore[no-untyped-def]
    result, total, peak, q, key, value, rows, start, end, low, high, head, table, far_bias,
    BIAS: tl.constexpr, REACH: tl.constexpr, IS_CAUSAL: tl.constexpr, NUM_HEADS: tl.constexpr,
    NUM_CHANNELS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    channels = tl.arange(0, NUM_CHANNELS)
    for first in range(low, high, KEYS):
        columns = tl.multiple_of(first, KEYS) + tl.arange(0, KEYS)
        k = tl.load(tile(key, columns, channels, head, NUM_HEADS, NUM_CHANNELS))
        score = tl.dot(q, tl.trans(k), input_precision="tf32x3")
        distance = columns[None, :] - rows[:, None]
        score = biased(score, distance, table, far_bias, BIAS, REACH)
        seen = is_seen(rows[:, None], columns[None, :], start[:, None], end[:, None], IS_CAUSAL)
        score = tl.where(seen, score, -float("inf"))
        new_peak = tl.maximum(peak, tl.max(score, 1))
        # A query without any key so far has no peak.
        above = tl.where(new_peak == -float("inf"), 0.0, new_peak)
        weight = tl.exp2(score - above[:, None])
        shrink = tl.exp2(peak - above)
        total = total * shrink + tl.sum(weight, 1)
        v = tl.load(tile(value, columns, channels, head, NUM_HEADS, NUM_CHANNELS))
        result = result * shrink[:, None]
        result = tl.dot(weight.to(v.dtype), v, result, input_precision="tf32x3")
        peak = new_peak
    return result, total, peak


@triton.jit  # type: ignore[untyped-decorator]
def forward(  # type: ignore[no-untyped-def]
    query, key, value, table, key_start, key_end, attended, normalizer, num_queries,
    HAS_BIAS: tl.constexpr, REACH: tl.constexpr, IS_CAUSAL: tl.constexpr, NUM_HEADS: tl.constexpr,
    NUM_CHANNELS: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Computes `attended`, and `normalizer` [heads, queries]: log2 of the sum of exponentiated
    scores."""
    first, head = tl.program_id(0) * QUERIES, tl.program_id(1)
    rows, channels = first + tl.arange(0, QUERIES), tl.arange(0, NUM_CHANNELS)
    q = tl.load(tile(query, rows, channels, head, NUM_HEADS, NUM_CHANNELS))
    start, end = tl.load(key_start + rows), tl.load(key_end + rows)
    low = tl.load(key_start + first) // KEYS * KEYS
    high = tl.load(key_end + first + QUERIES - 1)
    if IS_CAUSAL:
        high = tl.minimum(high, first + QUERIES)
    high = (high + KEYS - 1) // KEYS * KEYS
    result = tl.zeros([QUERIES, NUM_CHANNELS], tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    peak = tl.full([QUERIES], -float("inf"), tl.float32)
    if HAS_BIAS:
        table += head * (2 * REACH + 1)
        begin, finish = near_keys(first, low, high, REACH, QUERIES, KEYS)
        result, total, peak = _forward_part(
            result, total, peak, q, key, value, rows, start, end, low, begin, head, table,
            tl.load(table), FAR, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, KEYS,
        )  # fmt: skip
        result, total, peak = _forward_part(
            result, total, peak, q, key, value, rows, start, end, begin, finish, head, table,
            0.0, NEAR, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, KEYS,
        )  # fmt: skip
        if not IS_CAUSAL:
            result, total, peak = _forward_part(
                result, total, peak, q, key, value, rows, start, end, finish, high, head, table,
                tl.load(table + 2 * REACH), FAR, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, KEYS,
            )  # fmt: skip
    else:
        result, total, peak = _forward_part(
            result, total, peak, q, key, value, rows, start, end, low, high, head, table,
            0.0, NO_BIAS, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, KEYS,
        )  # fmt: skip
    saw = total > 0
    result = tl.where(saw[:, None], result / tl.where(saw, total, 1.0)[:, None], 0.0)
    tl.store(
        tile(attended, rows, channels, head, NUM_HEADS, NUM_CHANNELS),
        result.to(attended.dtype.element_ty),
    )
    log = tl.where(saw, peak + tl.log2(tl.where(saw, total, 1.0)), 0.0)
    tl.store(normalizer + head * num_queries + rows, log)
