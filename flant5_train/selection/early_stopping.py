"""The rule that ends a run before its last step because it has stopped getting better."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flant5_train.selection.evaluations import eval_losses, num_evaluations_without_gain


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """After `patience` evaluations in a row whose loss is not below the best one before them by
    more than `threshold`; a patience of 0 never stops."""

    patience: int = 0
    threshold: float = 0.0

    def is_due(self, log_history: Iterable[Mapping[str, Any]]) -> bool:
        """Returns True when the run is over after these logs."""
        if self.patience == 0:
            return False
        losses = eval_losses(log_history).values()
        return num_evaluations_without_gain(losses, threshold=self.threshold) >= self.patience
