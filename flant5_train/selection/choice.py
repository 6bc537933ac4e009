"""Selection settings of a run, and the checkpoint they select."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.trainer_utils import IntervalStrategy

from flant5_train.arguments import TrainingArguments
from flant5_train.selection.early_stopping import EarlyStopping
from flant5_train.selection.evaluations import best_checkpoint, eval_losses


@dataclass(frozen=True, slots=True)
class Selection:
    """Selection settings of a run."""

    keeps_best: bool
    early_stopping: EarlyStopping

    @classmethod
    def of(cls, training: TrainingArguments) -> "Selection":
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
