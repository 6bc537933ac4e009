"""Settings that mean nothing without validation pairs."""

from flant5_train.arguments import TrainingArguments
from flant5_train.failure import FailureCode, TrainingError

_NEED_EVALUATIONS = (
    "load_best_model_at_end",
    "early_stopping_patience",
    "eval_generation_samples",
)


def refuse_without_validation(training: TrainingArguments) -> None:
    """Called when there are no validation pairs. Raises TrainingError for the first setting that
    would silently do nothing."""
    for name in _NEED_EVALUATIONS:
        if value := getattr(training, name):
            raise TrainingError(
                FailureCode.BAD_CONFIG,
                f"{name} is {value}, but there is nothing to evaluate on; expected a"
                " validation_file or a validation_split above 0",
                param=name,
            )
