"""A loss that has left for good what it had reached.

The rule, for a curve of logged losses:

- What counts is the median of the last 10 logs, which a few bad batches do not move, and the
  lowest such median so far.
- A median is high when it is above three times the lowest, and above half of ln(vocabulary),
  which is a perplexity of the square root of the vocabulary: 5.2 for T5's 32,128 pieces.
- Ten high medians in a row are an explosion.

A model that has lost everything still knows how frequent each piece is: its loss stays below
ln(vocabulary), so that this alone would let it pass. A model that is trained from nothing begins
high, but then its lowest median is as high, and three times that is out of reach.
"""

import math
import statistics
from collections import deque
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

from flant5_train.failure import FailureCode, TrainingError

WINDOW = 10
FACTOR = 3.0
PATIENCE = 10


class LossTrend:
    """The medians of a curve, as far as the rule needs them."""

    def __init__(self, *, vocabulary_size: int) -> None:
        self._ceiling = math.log(vocabulary_size) / 2
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._num_high = 0
        self.lowest = math.inf

    @property
    def median(self) -> float:
        """Of the last logs."""
        return statistics.median(self._window)

    @property
    def has_exploded(self) -> bool:
        return self._num_high >= PATIENCE

    def add(self, loss: float) -> None:
        self._window.append(loss)
        if len(self._window) < WINDOW:
            return
        is_high = self.median > max(FACTOR * self.lowest, self._ceiling)
        self._num_high = self._num_high + 1 if is_high else 0
        self.lowest = min(self.lowest, self.median)


class RefuseExplodedLoss(TrainerCallback):
    """Ends the run by the rule above: what comes after it is not worth the machine's time."""

    def on_train_begin(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._trend = LossTrend(vocabulary_size=kwargs["model"].config.vocab_size)
        for entry in state.log_history:  # of a run that is resumed
            if "loss" in entry:
                self._trend.add(entry["loss"])

    def on_log(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        trend = self._trend
        trend.add(logs["loss"])
        if trend.has_exploded:
            raise TrainingError(
                FailureCode.LOSS_EXPLOSION,
                f"the loss has exploded: at step {state.global_step} of {state.max_steps} it is"
                f" {trend.median:.2f} in the median of {WINDOW} logs, after {trend.lowest:.2f} at"
                f" its best; expected less than {FACTOR:g} times that. A lower learning_rate, a"
                " longer warm-up or a max_grad_norm of 1 usually helps",
                param="learning_rate",
            )
