"""Summary of a batch plan."""

from dataclasses import dataclass

from flant5_train.config import Batching
from flant5_train.data.pairs import LargestBatch


@dataclass(frozen=True, slots=True)
class PlanReport:
    """Figures of a plan, taken from the first epoch where epochs differ."""

    batching: Batching
    num_steps: int
    """Optimizer steps of the run."""
    num_micro_batches: int
    """Micro-batches of an epoch, over all processes."""
    source_fill: float
    """Share of the encoder's positions that hold a token; the rest is padding."""
    target_fill: float
    """Share of the decoder's positions that hold a token; the rest is padding."""
    straggler: float
    """Mean over largest work of concurrent processes: 1 when none waits for another."""
    largest: LargestBatch
