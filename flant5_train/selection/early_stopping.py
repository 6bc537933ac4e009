"""Early stopping rule: ends a run whose validation loss no longer improves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flant5_train.selection.evaluations import eval_losses, num_evaluations_without_gain


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Stops after `patience` evaluations in a row that do not improve on the best loss by more
    than `threshold`. A patience of 0 disables it."""

    patience: int = 0
    threshold: float = 0.0

    def is_due(self, log_history: Iterable[Mapping[str, Any]]) -> bool:
        """Returns True when training should stop after these logs."""
        if self.patience == 0:
            return False
        losses = eval_losses(log_history).values()
        return num_evaluations_without_gain(losses, threshold=self.threshold) >= self.patience
