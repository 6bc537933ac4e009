"""The Triton kernel behind `bias_gradient`; imported on machines with a GPU only.

Shapes: H heads, Q queries, C channels of a head, B buckets, R distances, I blocks of queries.
"""

import torch
import triton
import triton.language as tl

_QUERIES = 64
_KEYS = 64


@torch.library.custom_op("flant5::bias_gradient", mutates_args=())
def bias_gradient(
    slope: torch.Tensor,
    mean: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    normalizer: torch.Tensor,
    table: torch.Tensor,
    distances: torch.Tensor,
    segments: torch.Tensor,
    is_causal: bool,
) -> torch.Tensor:
    """The gradient of the weight [B, H] of the position bias, float32, summed in a fixed order.

    `slope` [1, H, Q, C] is the gradient of the attention's result, `mean` [1, H, Q] its product
    with that result, `normalizer` [1, H, Q] the logarithm of the sum of exponentiated scores;
    `segments` [Q] int32 with padding 0 at the end. For `table` [H, R] and `distances` [B, 2] see
    FlexBias.
    """
    _, num_heads, num_queries, num_channels = query.shape
    num_buckets = len(distances)
    num_blocks = triton.cdiv(num_queries, _QUERIES)
    sums_IHB = torch.empty(num_blocks, num_heads, num_buckets, device=query.device)
    _sum_by_bucket[(num_blocks, num_heads)](
        query, key, value, slope, normalizer, mean, segments, table, distances,
        *_key_blocks(segments, is_causal=is_causal),
        sums_IHB,
        query.stride(1), query.stride(2), key.stride(1), key.stride(2),
        value.stride(1), value.stride(2), slope.stride(1), slope.stride(2),
        num_queries, num_heads,
        REACH=table.shape[1] // 2, NUM_BUCKETS=num_buckets, NUM_CHANNELS=num_channels,
        IS_CAUSAL=is_causal, QUERIES=_QUERIES, KEYS=_KEYS, num_warps=4, num_stages=2,
    )  # fmt: skip
    return sums_IHB.sum(0).T.contiguous()


@bias_gradient.register_fake
def _shape(
    slope: torch.Tensor,
    mean: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    normalizer: torch.Tensor,
    table: torch.Tensor,
    distances: torch.Tensor,
    segments: torch.Tensor,
    is_causal: bool,
) -> torch.Tensor:
    return query.new_empty(len(distances), query.shape[1], dtype=torch.float32)


def _key_blocks(segments_Q: torch.Tensor, *, is_causal: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The first block of keys that each block of queries sees, and the one after the last."""
    num_queries = len(segments_Q)
    order_Q = segments_Q.masked_fill(segments_Q == 0, torch.iinfo(torch.int32).max)
    start_I = torch.arange(0, num_queries, _QUERIES, device=segments_Q.device)
    end_I = (start_I + _QUERIES).clamp_max(num_queries)
    first_I = torch.searchsorted(order_Q, order_Q[start_I])
    last_I = torch.searchsorted(order_Q, order_Q[end_I - 1], right=True)
    if is_causal:
        last_I = torch.minimum(last_I, end_I)
    return (first_I // _KEYS).to(torch.int32), ((last_I + _KEYS - 1) // _KEYS).to(torch.int32)


@triton.jit  # type: ignore[untyped-decorator]
def _sum_by_bucket(  # type: ignore[no-untyped-def]
    query, key, value, slope, normalizer, mean, segments, table, distances,
    first_block, end_block, sums,
    query_head, query_row, key_head, key_row, value_head, value_row, slope_head, slope_row,
    num_queries, num_heads,
    REACH: tl.constexpr, NUM_BUCKETS: tl.constexpr, NUM_CHANNELS: tl.constexpr,
    IS_CAUSAL: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    block, head = tl.program_id(0), tl.program_id(1)
    rows = block * QUERIES + tl.arange(0, QUERIES)
    channels = tl.arange(0, NUM_CHANNELS)
    is_row = rows < num_queries
    at = is_row[:, None]
    q = tl.load(
        query + head * query_head + rows[:, None] * query_row + channels, mask=at, other=0.0
    )
    do = tl.load(
        slope + head * slope_head + rows[:, None] * slope_row + channels, mask=at, other=0.0
    )
    norm = tl.load(normalizer + head * num_queries + rows, mask=is_row, other=0.0)
    delta = tl.load(mean + head * num_queries + rows, mask=is_row, other=0.0)
    row_segment = tl.load(segments + rows, mask=is_row, other=-1)
    buckets = tl.arange(0, NUM_BUCKETS)
    totals = tl.zeros([NUM_BUCKETS], dtype=tl.float32)
    for key_block in range(tl.load(first_block + block), tl.load(end_block + block)):
        columns = key_block * KEYS + tl.arange(0, KEYS)
        is_column = columns < num_queries
        k = tl.load(
            key + head * key_head + columns[None, :] * key_row + channels[:, None],
            mask=is_column[None, :], other=0.0,
        )  # fmt: skip
        v = tl.load(
            value + head * value_head + columns[None, :] * value_row + channels[:, None],
            mask=is_column[None, :], other=0.0,
        )  # fmt: skip
        column_segment = tl.load(segments + columns, mask=is_column, other=-2)
        distance = columns[None, :] - rows[:, None]
        place = tl.minimum(tl.maximum(distance, -REACH), REACH) + REACH
        bias = tl.load(table + head * (2 * REACH + 1) + place)
        seen = row_segment[:, None] == column_segment[None, :]
        if IS_CAUSAL:
            seen = seen & (distance <= 0)
        score = tl.dot(q, k, input_precision="ieee") + bias
        weight = tl.where(seen, tl.exp(score - norm[:, None]), 0.0)
        ds = weight * (tl.dot(do, v, input_precision="ieee") - delta[:, None])
        nearest = key_block * KEYS - block * QUERIES - (QUERIES - 1)
        farthest = key_block * KEYS + (KEYS - 1) - block * QUERIES
        for bucket in range(NUM_BUCKETS):
            low = tl.load(distances + 2 * bucket)
            high = tl.load(distances + 2 * bucket + 1)
            if (low <= farthest) & (high >= nearest):
                inside = (distance >= low) & (distance <= high)
                share = tl.sum(tl.where(inside, ds, 0.0))
                totals += tl.where(buckets == bucket, share, 0.0)
    tl.store(sums + (block * num_heads + head) * NUM_BUCKETS + buckets, totals)
