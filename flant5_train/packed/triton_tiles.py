"""Attention over a packed row in Triton: what the forward and the backward kernels share.

Flash attention with T5's unscaled scores and its position bias. Where a block of keys is farther
from a block of queries than the bias reaches, the bias is one number; only the blocks near the
diagonal look it up.

Each query sees one run of keys, `key_start` to `key_end` (its own pair), and if causal none behind
itself. Rows are whole blocks of 128. Matrices lie as [rows, heads, channels]. Of float32 ones,
products are made of three in TF32, which is float32 again but for the last bits.
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
    """Scores with the bias of their distances, in units of log 2."""
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
    """From where to where, within low to high, keys are near the queries from `first` on."""
    begin = tl.maximum(first - REACH + 1, 0) // KEYS * KEYS
    end = (first + QUERIES - 1 + REACH + KEYS - 1) // KEYS * KEYS
    begin = tl.minimum(tl.maximum(begin, low), high)
    return begin, tl.minimum(tl.maximum(end, begin), high)
