"""Selection of the best checkpoint, and early stopping.

`SaveBest` saves the best checkpoint. `StopEarly` ends a run whose validation loss no longer
improves. `CheckpointSelector` holds the settings of a run and finds the selected checkpoint.

All decisions use the history of evaluations alone, from the logs in the trainer's state. It is
saved with each checkpoint and equal in all processes: a resumed run decides like an uninterrupted
one, and all processes decide alike.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments
from transformers.trainer_utils import IntervalStrategy

from flant5_train.arguments import TrainingArguments
from flant5_train.protocol.progress import StoppedEarly
from flant5_train.training.callbacks.reporting import ProgressSink
from flant5_train.training.checkpoints import complete_checkpoints, step_of


def eval_losses(log_history: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """Returns the loss of each evaluation by its step, in order."""
    return {
        int(entry["step"]): float(entry["eval_loss"])
        for entry in log_history
        if "eval_loss" in entry
    }


def best_step(losses: Mapping[int, float]) -> int | None:
    """Returns the step with the lowest loss (the first of equal ones); None if there is none."""
    return min(losses, key=losses.__getitem__, default=None)


def best_checkpoint(output_dir: Path, losses: Mapping[int, float]) -> Path | None:
    """Returns the evaluated, complete checkpoint with the lowest loss; None if there is none."""
    evaluated = {
        step_of(path): path for path in complete_checkpoints(output_dir) if step_of(path) in losses
    }
    step = best_step({step: losses[step] for step in sorted(evaluated)})
    return None if step is None else evaluated[step]


def num_evaluations_without_gain(losses: Iterable[float], *, threshold: float) -> int:
    """Returns the number of losses since the last gain. A gain is a loss below the best one so far
    by more than `threshold`; the first loss is always one.

    [3.0, 2.0, 1.95, 2.1] with a threshold of 0.1 -> 2
    """
    best, count = math.inf, 0
    for loss in losses:
        if loss < best - threshold:
            best, count = loss, 0
        else:
            count += 1
    return count


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

    def __init__(self, rule: EarlyStopping, report: ProgressSink) -> None:
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


@dataclass(frozen=True, slots=True)
class CheckpointSelector:
    """Selection settings of a run."""

    keeps_best: bool
    early_stopping: EarlyStopping

    @classmethod
    def of(cls, training: TrainingArguments) -> "CheckpointSelector":
        return cls(
            training.load_best_model_at_end,
            EarlyStopping(training.early_stopping_patience, training.early_stopping_threshold),
        )

    def best(self, output_dir: Path, log_history: Iterable[Mapping[str, Any]]) -> Path | None:
        """Returns the checkpoint to keep; None when selection is off or none was evaluated."""
        return best_checkpoint(output_dir, eval_losses(log_history)) if self.keeps_best else None


def evaluation_interval(training: TrainingArguments) -> tuple[str, float | None]:
    """Returns the strategy of a run with validation pairs, and the steps between two evaluations.
    The default strategy evaluates every `eval_steps`, or every `save_steps` if that is not set."""
    if training.eval_strategy == IntervalStrategy.NO:
        return IntervalStrategy.STEPS, training.eval_steps or training.save_steps
    assert training.eval_strategy is not None, "__post_init__ fills it in"
    return training.eval_strategy, training.eval_steps
