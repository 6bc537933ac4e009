"""Which blocks of a packed row's attention matrix hold anything, for flex attention.

`create_block_mask` would try every query and key; segments lie in order, so the first and the last
one of each block say the same. Shapes: Q queries, K keys, I query blocks, J key blocks.
"""

import torch
from torch.nn.attention.flex_attention import BlockMask

from flant5_train.packed.collator import NO_SEGMENT

BLOCK = 128


def block_mask(
    query_segments: torch.Tensor, key_segments: torch.Tensor, *, is_causal: bool = False
) -> BlockMask:
    """Queries [1, Q] see the keys [1, K] of their own segment, if causal none behind themselves.

    Q and K are multiples of 128. Padding counts as a segment: it sees padding only.
    """
    query_Q, key_K = _numbered(query_segments[0]), _numbered(key_segments[0])
    first_I, last_I = _ends(query_Q)
    first_J, last_J = _ends(key_K)
    touches_IJ = (first_I[:, None] <= last_J) & (first_J <= last_I[:, None])
    same_IJ = (first_I == last_I)[:, None] & (first_J == last_J) & (first_I[:, None] == first_J)
    if is_causal:
        block_I = torch.arange(len(first_I), device=query_Q.device)
        touches_IJ &= block_I[:, None] >= block_I
        same_IJ &= block_I[:, None] > block_I

    def is_seen(
        batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor
    ) -> torch.Tensor:
        same = query_Q[query] == key_K[key]
        return same & (query >= key) if is_causal else same

    return BlockMask.from_kv_blocks(
        *_as_lists(touches_IJ & ~same_IJ),
        *_as_lists(same_IJ),
        BLOCK_SIZE=BLOCK,
        mask_mod=is_seen,
        seq_lengths=(len(query_Q), len(key_K)),
    )


def _numbered(segments_L: torch.Tensor) -> torch.Tensor:
    """Segment numbers that never fall: padding, which is last, gets the highest."""
    return segments_L.masked_fill(segments_L == NO_SEGMENT, torch.iinfo(segments_L.dtype).max)


def _ends(segments_L: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first and the last segment of each block."""
    assert len(segments_L) % BLOCK == 0, f"{len(segments_L)} tokens; expected whole blocks"
    blocks = segments_L.view(-1, BLOCK)
    return blocks[:, 0], blocks[:, -1]


def _as_lists(wanted_IJ: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How many blocks of each row are wanted, and their numbers, wanted ones first."""
    counts = wanted_IJ.sum(-1, dtype=torch.int32)
    order = wanted_IJ.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return counts[None, None], order.to(torch.int32)[None, None].contiguous()
