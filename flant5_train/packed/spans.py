"""Attention spans of a packed row: the keys seen by each query, and the queries that see each key.

Shapes: Q queries, K keys.
"""

from dataclasses import dataclass
from typing import Self

import torch

from flant5_train.models.attention.segments import NO_SEGMENT


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
