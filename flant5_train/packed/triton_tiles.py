"""Attention over a packed row in Triton: functions shared by the forward and backward kernels.

Flash attention with T5's unscaled scores and position bias. If a block of keys is farther from a
block of queries than the bias's reach, the bias is a single number. Only blocks near the diagonal
look it up.

Each query sees one run of keys, `key_start` to `key_end` (its own pair); if causal, none after
itself. Rows are multiples of 128. Matrices are laid out as [rows, heads, channels]. A float32
product is computed from three TF32 products, which is exact up to the last bits.
"""

import triton
import triton.language as tl

NO_BIAS, NEAR, FAR = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit  # type: ignore[untyped-decorator]
def tile(matrix, rows, channels, head, NUM_HEADS: tl.constexpr, NUM_CHANNELS: tl.constexpr):  # type: ignore[no-untyped-def]
    return matrix + (rows[:, None] * NUM_HEADS + head) * NUM_CHANNELS + channels[None, :]


@triton.jit  # type: ignore[untyped-decorator]
def biased(score, distance, table, far_bias, BIAS: tl.constexpr, REACH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Returns the scores plus the bias of their distances, in units of log 2."""
    if BIAS == NEAR:
        place = tl.minimum(tl.maximum(distance, -REACH), REACH) + REACH
        score += tl.load(table + place)
    elif BIAS == FAR:
        score += far_bias
    return score * LOG2_E


@triton.jit  # type: ignore[untyped-decorator]
def is_seen(rows, columns, start, end, IS_CAUSAL: tl.constexpr):  # type: ignore[no-untyped-def]
    seen = (columns >= start) & (columns < end)
    if IS_CAUSAL:
        seen = seen & (columns <= rows)
    return seen


@triton.jit  # type: ignore[untyped-decorator]
def near_keys(first, low, high, REACH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Returns the range, within low to high, of keys near the queries that start at `first`."""
    begin = tl.maximum(first - REACH + 1, 0) // KEYS * KEYS
    end = (first + QUERIES - 1 + REACH + KEYS - 1) // KEYS * KEYS
    begin = tl.minimum(tl.maximum(begin, low), high)
    return begin, tl.minimum(tl.maximum(end, begin), high)
