"""T5's relative position bias as one number per head and distance.

Stock T5 materializes it for every query and key, [1, H, L, L], although it depends only on their
distance and is constant beyond about 100 tokens. Shapes: H heads, B buckets, R = 2 * reach + 1
distances.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
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
