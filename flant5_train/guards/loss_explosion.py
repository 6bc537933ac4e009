"""A loss that has left for good what it had reached, or what a model that knows nothing has.

Two rules. The first one is for a curve of logged losses that was lower before:

- What counts is the median of the last 10 logs, which a few bad batches do not move, and the
  lowest such median so far; the first logs count from the third one on.
- A median is high when it is above three times the lowest, and above half of ln(vocabulary),
  which is a perplexity of the square root of the vocabulary: 5.2 for T5's 32,128 pieces.
- Ten high medians in a row are an explosion.

A model that has lost everything still knows how frequent each piece is: its loss stays below
ln(vocabulary), so that this alone would let it pass. A model that is trained from nothing begins
high, but then its lowest median is as high, and three times that is out of reach.

The second rule holds whatever came before, for training and evaluation losses, each by themselves:

- A loss is far above when it is more than 1.5 ln(vocabulary): 15.6 for T5's 32,128 pieces. A model
  that gives each piece the same probability has ln(vocabulary).
- Losses far above that cover ten steps are an explosion, unless they have fallen by a tenth
  meanwhile. A model that begins there and never gets worse may fall as slowly as a warm-up makes
  it. They are two logs at least, because one may hold a single bad step; the last log of a run is
  enough by itself. In a shorter run they cover all steps but the first, whose loss is the base
  model's own, and two at least.
"""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

from flant5_train.failure import FailureCode, TrainingError

WINDOW = 10
FACTOR = 3.0
PATIENCE = 10
GUESSING_FACTOR = 1.5
_FIRST_LOGS = 3
_FALLEN, _FALLEN_SLOWLY = 0.9, 0.99
_NO_WORSE = 1.1
_CURES = "A lower learning_rate, a longer warm-up or a max_grad_norm of 1 usually helps"


class LossTrend:
    """The medians of a curve, as far as the first rule needs them."""

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
        if len(self._window) < _FIRST_LOGS:
            return
        if len(self._window) == WINDOW:
            is_high = self.median > max(FACTOR * self.lowest, self._ceiling)
            self._num_high = self._num_high + 1 if is_high else 0
        self.lowest = min(self.lowest, self.median)


class WorseThanGuessing:
    """The losses in a row that are far above ln(vocabulary), as far as the second rule needs
    them."""

    def __init__(self, *, vocabulary_size: int) -> None:
        self.guessing = math.log(vocabulary_size)
        self.limit = GUESSING_FACTOR * self.guessing
        self._first = math.inf
        self._step = 0
        self._began_step = 0
        self._losses: list[float] = []

    @property
    def num_steps(self) -> int:
        """Steps that the losses in a row cover."""
        return self._step - self._began_step

    def add(self, loss: float, *, step: int) -> None:
        """The mean loss of the steps since the last one, up to `step`."""
        self._first = loss if self._first == math.inf else self._first
        if self._has_fallen() or loss <= self.limit:
            self._losses = []
        if not self._losses:
            self._began_step = self._step
        if loss > self.limit:
            self._losses.append(loss)
        self._step = step

    def has_exploded(self, *, is_last: bool) -> bool:
        """Returns True when the run is to be ended; `is_last`: no more losses will come."""
        is_enough = len(self._losses) >= (1 if is_last else 2)
        patience = max(2, min(PATIENCE, self._step - 1)) if is_last else PATIENCE
        return is_enough and self.num_steps >= patience and not self._has_fallen(patience)

    def _has_fallen(self, num_steps: int = PATIENCE) -> bool:
        """Compares the first losses in a row with the last, once they cover `num_steps`."""
        if len(self._losses) < 2 or self.num_steps < num_steps:
            return False
        num = min(_FIRST_LOGS, len(self._losses) // 2)
        first, last = self._losses[:num], self._losses[-num:]
        is_as_at_first = max(self._losses) <= _NO_WORSE * self._first
        share = _FALLEN_SLOWLY if is_as_at_first else _FALLEN
        return statistics.median(last) < share * statistics.median(first)


class RefuseExplodedLoss(TrainerCallback):
    """Ends the run by the rules above: what comes after it is not worth the machine's time."""

    def on_train_begin(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        size = kwargs["model"].config.vocab_size
        self._trend = LossTrend(vocabulary_size=size)
        self._series = {
            name: WorseThanGuessing(vocabulary_size=size) for name in ("loss", "eval_loss")
        }
        for entry in state.log_history:  # of a run that is resumed
            self._add(entry, step=int(entry["step"]))

    def on_log(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs or {}
        self._add(logs, step=state.global_step)
        where = f"the loss has exploded: at step {state.global_step} of {state.max_steps}"
        for name, series in self._series.items():
            is_last = state.global_step >= state.max_steps
            if name in logs and series.has_exploded(is_last=is_last):
                raise _explosion(
                    f"{where} {name} is {logs[name]:.2f}, and for {series.num_steps} steps it has"
                    f" been above {series.limit:.1f}; expected less than {series.guessing:.1f},"
                    " which is what guessing each token of the vocabulary alike gives"
                )
        trend = self._trend
        if "loss" in logs and trend.has_exploded:
            raise _explosion(
                f"{where} it is {trend.median:.2f} in the median of {WINDOW} logs, after"
                f" {trend.lowest:.2f} at its best; expected less than {FACTOR:g} times that"
            )

    def _add(self, logs: Mapping[str, float], *, step: int) -> None:
        for name, series in self._series.items():
            if name in logs:
                series.add(logs[name], step=step)
        if "loss" in logs:
            self._trend.add(logs["loss"])


def _explosion(found: str) -> TrainingError:
    message = f"{found}. {_CURES}"
    return TrainingError(FailureCode.LOSS_EXPLOSION, message, param="learning_rate")
