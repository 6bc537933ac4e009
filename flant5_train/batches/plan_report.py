"""What a plan says about itself."""

from dataclasses import dataclass

from flant5_train.batches.lengths import LargestBatch
from flant5_train.config import Batching


@dataclass(frozen=True, slots=True)
class PlanReport:
    """The plan in numbers: those of the first epoch where epochs differ."""

    batching: Batching
    num_steps: int
    """Optimizer steps of the run."""
    num_micro_batches: int
    """Of an epoch, over all processes."""
    source_fill: float
    """Tokens over tokens with padding, on the encoder's side."""
    target_fill: float
    """The same on the decoder's side."""
    straggler: float
    """Mean over largest work of the processes at the same time: 1 when none waits for another."""
    largest: LargestBatch
