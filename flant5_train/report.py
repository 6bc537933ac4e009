"""Data report: counts of a data set, of cut pairs and of left-out turns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from flant5_train.data.encoding import Lengths


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of lengths in tokens before cutting, including EOS."""

    p50: int
    p90: int
    p99: int
    max: int

    @classmethod
    def of(cls, lengths: NDArray[np.integer]) -> "Percentiles":
        p50, p90, p99 = np.percentile(lengths, [50, 90, 99], method="higher").astype(int).tolist()
        return cls(p50, p90, p99, int(lengths.max()))


@dataclass(frozen=True, slots=True)
class DataReport:
    """Counts of one data set.

    `left_out` counts turns and records without a pair by reason. `warnings` counts likely mistakes
    by kind, such as fields without effect.
    """

    conversations: int
    pairs: int
    source_tokens: int
    """Tokens that the encoder reads in one epoch, after cutting."""
    target_tokens: int
    """Tokens that the decoder learns in one epoch, after cutting."""
    truncated_sources: int
    truncated_targets: int
    source_lengths: Percentiles
    target_lengths: Percentiles
    left_out: Mapping[str, int]
    warnings: Mapping[str, int]

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def report_of(
    sources: NDArray[np.integer],
    targets: NDArray[np.integer],
    *,
    lengths: Lengths,
    num_conversations: int,
    left_out: Mapping[str, int],
    warnings: Mapping[str, int],
) -> DataReport:
    """Returns the report of pairs with these lengths before cutting, each [N], N at least 1."""
    return DataReport(
        conversations=num_conversations,
        pairs=len(sources),
        source_tokens=int(np.minimum(sources, lengths.max_source).sum()),
        target_tokens=int(np.minimum(targets, lengths.max_target).sum()),
        truncated_sources=int((sources > lengths.max_source).sum()),
        truncated_targets=int((targets > lengths.max_target).sum()),
        source_lengths=Percentiles.of(sources),
        target_lengths=Percentiles.of(targets),
        left_out=dict(left_out),
        warnings=dict(warnings),
    )
