"""Stops the run when the loss becomes NaN or infinite."""

import math
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

from flant5_train.protocol.failure import FailureCode, TrainingError

_WATCHED = ("loss", "grad_norm", "eval_loss")


class RefuseBrokenLoss(TrainerCallback):
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
