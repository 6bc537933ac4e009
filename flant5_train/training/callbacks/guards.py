"""Guards: refuse unusable settings, and stop runs that can't succeed.

Reasons to stop a run:

- The loss or the gradient norm is NaN or infinite.
- The learning rate is 0 before the last step.
- The loss has diverged: it is far above its best, or above uniform guessing.

Refused before a run are settings that have no effect without validation pairs, and settings that
leave validation pairs unused. So are arguments that the library accepts and this trainer does not
support.

Two rules detect a diverged loss. The first rule compares the training loss with its own history:

- It uses the median of the last 10 logs, which a few bad batches do not move, and the lowest such
  median so far. At the start, the lowest median counts from the third log on.
- A median is high if it is above three times the lowest, and above half of ln(vocabulary). The
  latter is a perplexity of the square root of the vocabulary: 5.2 for T5's 32,128 pieces.
- Ten high medians in a row are an explosion.

A model that has forgotten everything else still knows the frequency of each piece. Its loss stays
below ln(vocabulary), so the second rule alone would not detect it. A model trained from scratch
starts high, but its lowest median is then high too, and three times that is out of reach.

The second rule ignores history. It applies to the training and the evaluation loss separately:

- A loss is far above guessing if it exceeds 1.5 ln(vocabulary): 15.6 for T5's 32,128 pieces. A
  model that gives every piece the same probability has ln(vocabulary).
- Losses far above guessing that cover ten steps are an explosion, unless they fell by a tenth
  meanwhile. If a model starts there and never gets worse, a slow decline as during a warm-up is
  enough.
- At least two logs are needed, because one may reflect a single bad step. The last log of a run
  suffices alone.
- In a run of fewer steps, the losses must cover all steps except the first, whose loss is the base
  model's, and at least two.
"""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

from flant5_train.arguments import TrainingArguments
from flant5_train.config import idle_without_validation
from flant5_train.protocol.failure import FailureCode, TrainingError

WINDOW = 10
FACTOR = 3.0
PATIENCE = 10
GUESSING_FACTOR = 1.5
_FIRST_LOGS = 3
_FALLEN, _FALLEN_SLOWLY = 0.9, 0.99
_NO_WORSE = 1.1
_CURES = "A lower learning_rate, a longer warm-up or a max_grad_norm of 1 usually helps"


class LossTrend:
    """Medians of a loss curve, for the first rule."""

    def __init__(self, *, vocabulary_size: int) -> None:
        self._ceiling = math.log(vocabulary_size) / 2
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._num_high = 0
        self.lowest = math.inf

    @property
    def median(self) -> float:
        """Median of the last logs."""
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
    """Consecutive losses far above ln(vocabulary), for the second rule."""

    def __init__(self, *, vocabulary_size: int) -> None:
        self.guessing = math.log(vocabulary_size)
        self.limit = GUESSING_FACTOR * self.guessing
        self._first = math.inf
        self._step = 0
        self._began_step = 0
        self._losses: list[float] = []

    @property
    def num_steps(self) -> int:
        """Steps covered by the consecutive losses."""
        return self._step - self._began_step

    def add(self, loss: float, *, step: int) -> None:
        """Adds the mean loss of the steps since the previous call, up to `step`."""
        self._first = loss if self._first == math.inf else self._first
        if self._has_fallen() or loss <= self.limit:
            self._losses = []
        if not self._losses:
            self._began_step = self._step
        if loss > self.limit:
            self._losses.append(loss)
        self._step = step

    def has_exploded(self, *, is_last: bool) -> bool:
        """Returns True if the run must stop; `is_last` means that no more losses will come."""
        is_enough = len(self._losses) >= (1 if is_last else 2)
        patience = max(2, min(PATIENCE, self._step - 1)) if is_last else PATIENCE
        return is_enough and self.num_steps >= patience and not self._has_fallen(patience)

    def _has_fallen(self, num_steps: int = PATIENCE) -> bool:
        """Compares the first consecutive losses with the last, if they cover `num_steps`."""
        if len(self._losses) < 2 or self.num_steps < num_steps:
            return False
        num = min(_FIRST_LOGS, len(self._losses) // 2)
        first, last = self._losses[:num], self._losses[-num:]
        is_as_at_first = max(self._losses) <= _NO_WORSE * self._first
        share = _FALLEN_SLOWLY if is_as_at_first else _FALLEN
        return statistics.median(last) < share * statistics.median(first)


class LossSpikeGuard(TrainerCallback):
    """Stops the run by the rules above: it would not recover, and only waste the machine's time."""

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
        for entry in state.log_history:  # not empty if the run was resumed
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
                    " the loss of guessing each token with equal probability"
                )
        trend = self._trend
        if "loss" in logs and trend.has_exploded:
            raise _explosion(
                f"{where} its median over {WINDOW} logs is {trend.median:.2f}, after a best of"
                f" {trend.lowest:.2f}; expected less than {FACTOR:g} times that"
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


_WATCHED = ("loss", "grad_norm", "eval_loss")


class NonFiniteLossGuard(TrainerCallback):
    """Stops the run when the loss or the gradient norm is NaN or infinite, before the next save.
    The weights are unusable by then, but the last checkpoint is not."""

    def on_step_end(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        # The loss is checked when it is logged, which must happen before every save.
        is_last = state.global_step >= state.max_steps
        control.should_log = control.should_log or control.should_save or is_last

    def on_log(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        for name in _WATCHED:
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(value):
                raise TrainingError(
                    FailureCode.NAN_LOSS,
                    f"{name} is {value} at step {state.global_step} of {state.max_steps}; expected"
                    " a finite number. A lower learning_rate or a longer warm-up usually helps",
                    param="learning_rate",
                )


class ZeroLearningRateGuard(TrainerCallback):
    """Stops the run when the remaining steps can't change the weights.

    A schedule is also 0 before the first step of a warm-up and after the last step. Neither case is
    checked here: the check runs after a step, and only if steps are left.
    """

    def on_step_end(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if state.global_step >= state.max_steps:
            return
        rates = [float(group["lr"]) for group in kwargs["optimizer"].param_groups]
        if not any(rates):
            raise TrainingError(
                FailureCode.BAD_CONFIG,
                f"the learning rate is 0 from step {state.global_step + 1} of {state.max_steps} on,"
                f" so later steps would learn nothing (learning_rate {args.learning_rate:g},"
                f" lr_scheduler_type {args.lr_scheduler_type}, warm-up of"
                f" {args.get_warmup_steps(state.max_steps)} steps); expected a rate above 0 until"
                " the last step",
                param="learning_rate",
            )


_EXPECTED = "expected a validation_file or a validation_split above 0"


def refuse_without_validation(training: TrainingArguments) -> None:
    """Raises TrainingError for the first setting that would have no effect. Call it if there are no
    validation pairs."""
    if idle := idle_without_validation(training):
        name, message = idle
        raise _bad_config(name, message)
    # The library sets do_eval with eval_strategy.
    strategy = str(getattr(training.eval_strategy, "value", training.eval_strategy))
    asks = {
        "eval_strategy": strategy if strategy != "no" else None,
        "do_eval": training.do_eval,
        "eval_delay": training.eval_delay,
    }
    for name, value in asks.items():
        if value:
            raise _bad_config(
                name, f"{name} is {value}, but there is nothing to evaluate on; {_EXPECTED}"
            )


def refuse_unused_validation(training: TrainingArguments) -> None:
    """Raises TrainingError if evaluations are disabled. Call it if there are validation pairs."""
    if training.forbids_evaluations:
        raise _bad_config(
            "eval_strategy",
            "eval_strategy is no, but there are validation pairs; expected eval_strategy steps or"
            " epoch, or neither validation_file nor validation_split",
        )


def _bad_config(name: str, message: str) -> TrainingError:
    return TrainingError(FailureCode.BAD_CONFIG, message, param=name)


def validate_arguments(training: TrainingArguments) -> None:
    """Raises TrainingError for `torch_compile` without packed batches on a GPU."""
    if training.compiles_blocks and (training.batching != "packed" or training.use_cpu):
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"torch_compile is on with batching={training.batching} on a"
            f" {training.device.type.upper()}, where each batch has a different shape to compile;"
            " expected batching=packed on a GPU",
            param="torch_compile",
        )
