"""Settings that mean nothing without validation pairs."""

from flant5_train.arguments import TrainingArguments
from flant5_train.config import idle_without_validation
from flant5_train.failure import FailureCode, TrainingError


def refuse_without_validation(training: TrainingArguments) -> None:
    """Called when there are no validation pairs. Raises TrainingError for the first setting that
    would silently do nothing."""
    if idle := idle_without_validation(training):
        name, message = idle
        raise TrainingError(FailureCode.BAD_CONFIG, message, param=name)
