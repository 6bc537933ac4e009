"""Callbacks that save the best checkpoint and stop training early."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

from flant5_train.protocol.progress import StoppedEarly
from flant5_train.selection.early_stopping import EarlyStopping
from flant5_train.selection.evaluations import best_step, eval_losses
from flant5_train.training.callbacks.reporting import Report


class _SavesAfterEvaluation(TrainerCallback):
    def on_step_end(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        # Every save needs a log before it, which checks the loss and counts the tokens.
        control.should_log = control.should_log or control.should_evaluate


class SaveBest(_SavesAfterEvaluation):
    """Requests a checkpoint after each evaluation that is the best so far."""

    def on_evaluate(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if best_step(eval_losses(state.log_history)) == state.global_step:
            control.should_save = True


class StopEarly(_SavesAfterEvaluation):
    """Stops training when the rule is met, and saves a checkpoint. If the run crashes before the
    final model is written, the resumed run stops immediately."""

    def __init__(self, rule: EarlyStopping, report: Report) -> None:
        self._rule = rule
        self._report = report

    def on_train_begin(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if self._rule.is_due(state.log_history):
            control.should_training_stop = True

    def on_evaluate(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if state.global_step == state.max_steps or not self._rule.is_due(state.log_history):
            return
        losses = eval_losses(state.log_history)
        best = best_step(losses)
        assert best is not None, "an evaluation has just been logged"
        self._report(
            StoppedEarly(
                step=state.global_step,
                patience=self._rule.patience,
                best_step=best,
                best_eval_loss=losses[best],
            )
        )
        control.should_save = True
        control.should_training_stop = True
