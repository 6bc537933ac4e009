"""The gradient of the position bias under flex attention.

Flex attention would add every score's gradient to the one number of its distance: 10^8 atomic
additions per layer, in an order that differs from run to run. Here the bias is a constant to it,
and a kernel of our own sums the gradients block by block, in a fixed order. What it computes again
are the scores, two of the seven matrix products of an attention layer.

Shapes: H heads, Q queries, C channels of a head, B buckets, R distances, I blocks of queries.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch

from flant5_train.packed.bias_kernel import bias_gradient
from flant5_train.packed.relative_bias import RelativeBias


@dataclass(frozen=True, slots=True)
class FlexBias:
    """The bias of a stack over one packed row."""

    weight_BH: torch.Tensor
    """What is trained."""
    table_HR: torch.Tensor
    """The bias at each distance, from -reach to reach; a constant here."""
    distances_B2: torch.Tensor
    """The least and the greatest distance of each bucket, int32."""
    segments_Q: torch.Tensor
    """The pair of each position, int32."""
    is_causal: bool

    @classmethod
    def of(cls, bias: RelativeBias, segments: torch.Tensor, *, is_causal: bool = False) -> Self:
        """For a row with these segment numbers, [1, Q]."""
        return cls(
            weight_BH=bias.weight_BH,
            table_HR=bias.table_HR().detach().float(),
            distances_B2=bias.distances_B2(),
            segments_Q=segments[0].to(torch.int32),
            is_causal=is_causal,
        )


def with_bias_gradient(
    attended_BHQC: torch.Tensor,
    query_BHQC: torch.Tensor,
    key_BHQC: torch.Tensor,
    value_BHQC: torch.Tensor,
    *,
    normalizer_BHQ: torch.Tensor,
    bias: FlexBias,
) -> torch.Tensor:
    """`attended_BHQC` unchanged; its backward pass gives `bias.weight_BH` its gradient.

    `normalizer_BHQ` is the logarithm of the sum of each query's exponentiated scores; B is 1.
    """
    attended: torch.Tensor = _BiasGradient.apply(  # type: ignore[no-untyped-call]
        attended_BHQC,
        bias.weight_BH,
        query_BHQC.detach(),
        key_BHQC.detach(),
        value_BHQC.detach(),
        normalizer_BHQ.detach(),
        bias.table_HR,
        bias.distances_B2,
        bias.segments_Q,
        bias.is_causal,
    )
    return attended


class _BiasGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        attended_BHQC: torch.Tensor,
        weight_BH: torch.Tensor,
        query_BHQC: torch.Tensor,
        key_BHQC: torch.Tensor,
        value_BHQC: torch.Tensor,
        normalizer_BHQ: torch.Tensor,
        table_HR: torch.Tensor,
        distances_B2: torch.Tensor,
        segments_Q: torch.Tensor,
        is_causal: bool,
    ) -> torch.Tensor:
        ctx.save_for_backward(
            attended_BHQC,
            query_BHQC,
            key_BHQC,
            value_BHQC,
            normalizer_BHQ,
            table_HR,
            distances_B2,
            segments_Q,
        )
        ctx.is_causal = is_causal
        return attended_BHQC.view_as(attended_BHQC)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (slope_BHQC,) = gradients
        attended_BHQC, *rest = ctx.saved_tensors
        # Softmax's own share: what a query's scores lose when all of them grow.
        mean_BHQ = (slope_BHQC.float() * attended_BHQC.float()).sum(-1)
        weight_gradient = bias_gradient(slope_BHQC.contiguous(), mean_BHQ, *rest, ctx.is_causal)
        return slope_BHQC, weight_gradient, *[None] * 8
