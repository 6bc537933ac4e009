"""What a plan says about itself."""

from dataclasses import dataclass

from flant5_train.config import Batching


@dataclass(frozen=True, slots=True)
class LargestBatch:
    """The micro-batch with the most work: what memory has to suffice for."""

    pairs: tuple[int, ...]
    """Their numbers in the data set."""
    longest_source: int
    longest_target: int
    source_places: int
    """Tokens of the encoder's side, padding counted."""
    target_places: int
    """The same of the decoder's side."""

    @property
    def num_pairs(self) -> int:
        return len(self.pairs)

    @property
    def padded_tokens(self) -> int:
        """Of both sides, padding counted."""
        return self.source_places + self.target_places


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
