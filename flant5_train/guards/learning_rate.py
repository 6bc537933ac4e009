"""Stops the run when the learning rate is 0 before the last step."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

from flant5_train.protocol.failure import FailureCode, TrainingError


class RefuseZeroLearningRate(TrainerCallback):
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
