"""Triton kernels of attention over a packed row: forward and backward pass.

Flash attention with T5's unscaled scores and position bias. If a block of keys is farther from a
block of queries than the bias's reach, the bias is a single number. Only blocks near the diagonal
look it up. The gradient of the bias is summed by bucket and block in a fixed order. Flex attention
would add the share of every score atomically.

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


@triton.jit  # type: ignore[untyped-decorator]
def softmax_share(  # type: ignore[no-untyped-def]
    slope, attended, mean, num_queries,
    NUM_HEADS: tl.constexpr, NUM_CHANNELS: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """Computes `mean` [heads, queries]: each query's dot product of output and output gradient,
    which the softmax gradient subtracts."""
    rows = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    head, channels = tl.program_id(1), tl.arange(0, NUM_CHANNELS)
    do = tl.load(tile(slope, rows, channels, head, NUM_HEADS, NUM_CHANNELS)).to(tl.float32)
    out = tl.load(tile(attended, rows, channels, head, NUM_HEADS, NUM_CHANNELS)).to(tl.float32)
    tl.store(mean + head * num_queries + rows, tl.sum(do * out, 1))


@triton.jit  # type: ignore[untyped-decorator]
def _up_to(summed, last, KEYS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Returns the sums of each row up to the key `last`, which may be outside the block."""
    inside = tl.minimum(tl.maximum(last, 0), KEYS - 1)
    return tl.where(last < 0, 0.0, tl.gather(summed, inside, 1))


@triton.jit  # type: ignore[untyped-decorator]
def _query_part(  # type: ignore[no-untyped-def]
    gradient, far_total, totals, q, do, norm, delta, key, value, rows, start, end, low, high, head,
    table, far_bias, least, greatest,
    BIAS: tl.constexpr, REACH: tl.constexpr, IS_CAUSAL: tl.constexpr,
    NUM_HEADS: tl.constexpr, NUM_CHANNELS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    channels = tl.arange(0, NUM_CHANNELS)
    for first in range(low, high, KEYS):
        columns = tl.multiple_of(first, KEYS) + tl.arange(0, KEYS)
        k = tl.load(tile(key, columns, channels, head, NUM_HEADS, NUM_CHANNELS))
        v = tl.load(tile(value, columns, channels, head, NUM_HEADS, NUM_CHANNELS))
        score = tl.dot(q, tl.trans(k), input_precision="tf32x3")
        distance = columns[None, :] - rows[:, None]
        score = biased(score, distance, table, far_bias, BIAS, REACH)
        seen = is_seen(rows[:, None], columns[None, :], start[:, None], end[:, None], IS_CAUSAL)
        weight = tl.where(seen, tl.exp2(score - norm[:, None]), 0.0)
        ds = weight * (tl.dot(do, tl.trans(v), input_precision="tf32x3") - delta[:, None])
        gradient = tl.dot(ds.to(k.dtype), k, gradient, input_precision="tf32x3")
        if BIAS == FAR:
            far_total += tl.sum(ds, 1)
        elif BIAS == NEAR:
            # A bucket's distances are a run of keys of each query. Its sum is the prefix sum at its
            # end minus the prefix sum before its beginning.
            within = tl.arange(0, KEYS)
            is_before = (within[:, None] <= within[None, :]).to(k.dtype)
            summed = tl.dot(ds.to(k.dtype), is_before, input_precision="tf32x3")
            here = rows[:, None] - first
            totals += _up_to(summed, here + greatest[None, :], KEYS)
            totals -= _up_to(summed, here + least[None, :] - 1, KEYS)
    return gradient, far_total, totals


@triton.jit  # type: ignore[untyped-decorator]
def query_gradient(  # type: ignore[no-untyped-def]
    query, key, value, table, key_start, key_end, slope, normalizer, mean, gradient,
    distances, far_buckets, sums, num_queries,
    HAS_BIAS: tl.constexpr, REACH: tl.constexpr, NUM_BUCKETS: tl.constexpr,
    IS_CAUSAL: tl.constexpr, NUM_HEADS: tl.constexpr, NUM_CHANNELS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Computes `gradient` of the queries, and `sums` [blocks, heads, buckets] of the bias."""
    block, head = tl.program_id(0), tl.program_id(1)
    first = block * QUERIES
    rows, channels = first + tl.arange(0, QUERIES), tl.arange(0, NUM_CHANNELS)
    q = tl.load(tile(query, rows, channels, head, NUM_HEADS, NUM_CHANNELS))
    do = tl.load(tile(slope, rows, channels, head, NUM_HEADS, NUM_CHANNELS))
    norm = tl.load(normalizer + head * num_queries + rows)
    delta = tl.load(mean + head * num_queries + rows)
    start, end = tl.load(key_start + rows), tl.load(key_end + rows)
    low = tl.load(key_start + first) // KEYS * KEYS
    high = tl.load(key_end + first + QUERIES - 1)
    if IS_CAUSAL:
        high = tl.minimum(high, first + QUERIES)
    high = (high + KEYS - 1) // KEYS * KEYS
    dq = tl.zeros([QUERIES, NUM_CHANNELS], tl.float32)
    none = tl.zeros([QUERIES], tl.float32)
    totals = tl.zeros([QUERIES, NUM_BUCKETS], tl.float32)
    if HAS_BIAS:
        table += head * (2 * REACH + 1)
        buckets = tl.arange(0, NUM_BUCKETS)
        least = tl.load(distances + 2 * buckets)
        greatest = tl.load(distances + 2 * buckets + 1)
        begin, finish = near_keys(first, low, high, REACH, QUERIES, KEYS)
        dq, before, totals = _query_part(
            dq, none, totals, q, do, norm, delta, key, value, rows, start, end, low, begin, head,
            table, tl.load(table), least, greatest,
            FAR, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, KEYS,
        )  # fmt: skip
        dq, _, totals = _query_part(
            dq, none, totals, q, do, norm, delta, key, value, rows, start, end, begin, finish, head,
            table, 0.0, least, greatest,
            NEAR, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, KEYS,
        )  # fmt: skip
        summed = tl.sum(totals, 0)
        summed += tl.where(buckets == tl.load(far_buckets), tl.sum(before), 0.0)
        if not IS_CAUSAL:
            dq, behind, totals = _query_part(
                dq, none, totals, q, do, norm, delta, key, value, rows, start, end, finish, high,
                head, table, tl.load(table + 2 * REACH), least, greatest,
                FAR, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, KEYS,
            )  # fmt: skip
            summed += tl.where(buckets == tl.load(far_buckets + 1), tl.sum(behind), 0.0)
        tl.store(sums + (block * NUM_HEADS + head) * NUM_BUCKETS + buckets, summed)
    else:
        dq, _, totals = _query_part(
            dq, none, totals, q, do, norm, delta, key, value, rows, start, end, low, high, head,
            table, 0.0, none, none,
            NO_BIAS, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, KEYS,
        )  # fmt: skip
    tl.store(
        tile(gradient, rows, channels, head, NUM_HEADS, NUM_CHANNELS),
        dq.to(gradient.dtype.element_ty),
    )


@triton.jit  # type: ignore[untyped-decorator]
def _key_part(  # type: ignore[no-untyped-def]
    dk, dv, k, v, query, slope, normalizer, mean, key_start, key_end, columns, low, high, head,
    table, far_bias, num_queries,
    BIAS: tl.constexpr, REACH: tl.constexpr, IS_CAUSAL: tl.constexpr, NUM_HEADS: tl.constexpr,
    NUM_CHANNELS: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    channels = tl.arange(0, NUM_CHANNELS)
    for first in range(low, high, QUERIES):
        rows = tl.multiple_of(first, QUERIES) + tl.arange(0, QUERIES)
        q = tl.load(tile(query, rows, channels, head, NUM_HEADS, NUM_CHANNELS))
        do = tl.load(tile(slope, rows, channels, head, NUM_HEADS, NUM_CHANNELS))
        norm = tl.load(normalizer + head * num_queries + rows)
        delta = tl.load(mean + head * num_queries + rows)
        start, end = tl.load(key_start + rows), tl.load(key_end + rows)
        score = tl.dot(k, tl.trans(q), input_precision="tf32x3")
        distance = columns[:, None] - rows[None, :]
        score = biased(score, distance, table, far_bias, BIAS, REACH)
        seen = is_seen(rows[None, :], columns[:, None], start[None, :], end[None, :], IS_CAUSAL)
        weight = tl.where(seen, tl.exp2(score - norm[None, :]), 0.0)
        dv = tl.dot(weight.to(do.dtype), do, dv, input_precision="tf32x3")
        ds = weight * (tl.dot(v, tl.trans(do), input_precision="tf32x3") - delta[None, :])
        dk = tl.dot(ds.to(q.dtype), q, dk, input_precision="tf32x3")
    return dk, dv


@triton.jit  # type: ignore[untyped-decorator]
def key_gradient(  # type: ignore[no-untyped-def]
    query, key, value, table, key_start, key_end, query_start, query_end, slope, normalizer, mean,
    key_slope, value_slope, num_queries,
    HAS_BIAS: tl.constexpr, REACH: tl.constexpr, IS_CAUSAL: tl.constexpr, NUM_HEADS: tl.constexpr,
    NUM_CHANNELS: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Computes the gradients of the keys and values."""
    first, head = tl.program_id(0) * KEYS, tl.program_id(1)
    columns, channels = first + tl.arange(0, KEYS), tl.arange(0, NUM_CHANNELS)
    k = tl.load(tile(key, columns, channels, head, NUM_HEADS, NUM_CHANNELS))
    v = tl.load(tile(value, columns, channels, head, NUM_HEADS, NUM_CHANNELS))
    low = tl.load(query_start + first)
    if IS_CAUSAL:
        low = tl.maximum(low, first)
    low = low // QUERIES * QUERIES
    high = tl.load(query_end + first + KEYS - 1)
    high = (high + QUERIES - 1) // QUERIES * QUERIES
    dk = tl.zeros([KEYS, NUM_CHANNELS], tl.float32)
    dv = tl.zeros([KEYS, NUM_CHANNELS], tl.float32)
    if HAS_BIAS:
        table += head * (2 * REACH + 1)
        # The same bounds from the keys' side: queries far before, near, and far after them.
        begin, finish = near_keys(first, low, high, REACH, KEYS, QUERIES)
        if not IS_CAUSAL:
            dk, dv = _key_part(
                dk, dv, k, v, query, slope, normalizer, mean, key_start, key_end, columns, low,
                begin, head, table, tl.load(table + 2 * REACH), num_queries,
                FAR, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, QUERIES,
            )  # fmt: skip
        dk, dv = _key_part(
            dk, dv, k, v, query, slope, normalizer, mean, key_start, key_end, columns, begin,
            finish, head, table, 0.0, num_queries,
            NEAR, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, QUERIES,
        )  # fmt: skip
        dk, dv = _key_part(
            dk, dv, k, v, query, slope, normalizer, mean, key_start, key_end, columns, finish,
            high, head, table, tl.load(table), num_queries,
            FAR, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, QUERIES,
        )  # fmt: skip
    else:
        dk, dv = _key_part(
            dk, dv, k, v, query, slope, normalizer, mean, key_start, key_end, columns, low, high,
            head, table, 0.0, num_queries,
            NO_BIAS, REACH, IS_CAUSAL, NUM_HEADS, NUM_CHANNELS, QUERIES,
        )  # fmt: skip
    tl.store(
        tile(key_slope, columns, channels, head, NUM_HEADS, NUM_CHANNELS),
        dk.to(key_slope.dtype.element_ty),
    )
    tl.store(
        tile(value_slope, columns, channels, head, NUM_HEADS, NUM_CHANNELS),
        dv.to(value_slope.dtype.element_ty),
    )
