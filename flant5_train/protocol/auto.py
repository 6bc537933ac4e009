"""Automatic hyperparameters: epochs and learning rate.

Decision 0024 has the measurements. Plans and runs choose by the same functions, so neither torch
nor numpy is imported here.
"""

import math
from dataclasses import dataclass
from typing import Protocol

MIN_STEPS = 200
"""Optimizer steps that an automatic number of epochs gives, where `MAX_EPOCHS` allows it."""
MIN_EPOCHS = 3
MAX_EPOCHS = 100

LEARNING_RATE = 1e-4
"""Suits the published Flan-T5 models. `learning_rate_multiplier` is a factor on this value."""
SMALL_LEARNING_RATE = 1e-3
SMALL_MODEL_WEIGHTS = 20_000_000
"""Models with fewer weights get `SMALL_LEARNING_RATE`. The demo model has 5.4 million at most,
the smallest published Flan-T5 77 million."""


def auto_epochs(steps_per_epoch: int) -> int:
    """Returns the number of epochs that gives at least `MIN_STEPS` optimizer steps.

    >>> [auto_epochs(steps) for steps in (1, 10, 50, 5000)]
    [100, 20, 4, 3]
    """
    return min(MAX_EPOCHS, max(MIN_EPOCHS, math.ceil(MIN_STEPS / steps_per_epoch)))


def auto_learning_rate(num_weights: int) -> float:
    """Returns the peak learning rate for a base model of this size.

    >>> auto_learning_rate(4_000_000), auto_learning_rate(77_000_000)
    (0.001, 0.0001)
    """
    return SMALL_LEARNING_RATE if num_weights < SMALL_MODEL_WEIGHTS else LEARNING_RATE


class Steps(Protocol):
    """The steps of a run, such as a `RunPlan`."""

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def num_steps(self) -> int: ...

    @property
    def chosen_epochs(self) -> int | None:
        """The automatic number of epochs; None when the end of the run was given."""


@dataclass(frozen=True, slots=True)
class AutoChoice:
    """Automatic values of a run, and the numbers behind them.

    A value is None if the caller gave it. `learning_rate` is also None if the size of the base
    model is unknown."""

    num_train_epochs: int | None
    learning_rate: float | None
    num_steps: int
    steps_per_epoch: int
    num_weights: int | None

    @classmethod
    def of(
        cls, plan: Steps, *, learning_rate: float | None, num_weights: int | None
    ) -> "AutoChoice":
        """Returns the automatic values for this plan, `learning_rate` and base model."""
        rate = None
        if learning_rate is None and num_weights is not None:
            rate = auto_learning_rate(num_weights)
        return cls(
            num_train_epochs=plan.chosen_epochs,
            learning_rate=rate,
            num_steps=plan.num_steps,
            steps_per_epoch=plan.steps_per_epoch,
            num_weights=num_weights,
        )

    def sentence(self) -> str | None:
        """Returns the automatic values with their reasons; None if there are none.

        >>> AutoChoice(20, None, num_steps=200, steps_per_epoch=10, num_weights=None).sentence()
        'auto: 20 epochs, 200 steps, because an epoch has 10 steps and at least 200 are needed'
        """
        parts = [part for part in (self._epochs(), self._learning_rate()) if part]
        return f"auto: {'; '.join(parts)}" if parts else None

    def _epochs(self) -> str:
        epochs = self.num_train_epochs
        if epochs is None:
            return ""
        steps = f"{self.steps_per_epoch} step{'' if self.steps_per_epoch == 1 else 's'}"
        if epochs == MIN_EPOCHS:
            reason = f"{MIN_EPOCHS} epochs are the minimum"
        elif epochs == MAX_EPOCHS:
            reason = f"{MAX_EPOCHS} epochs are the maximum"
        else:
            reason = f"at least {MIN_STEPS} are needed"
        return f"{epochs} epochs, {self.num_steps} steps, because an epoch has {steps} and {reason}"

    def _learning_rate(self) -> str:
        if self.learning_rate is None or self.num_weights is None:
            return ""
        size = f"{self.num_weights / 1e6:.1f} million weights"
        return f"learning_rate {self.learning_rate:g}, because the base model has {size}"
