"""Checks settings that have no effect without validation pairs, or that leave them unused."""

from flant5_train.arguments import TrainingArguments
from flant5_train.config import idle_without_validation
from flant5_train.protocol.failure import FailureCode, TrainingError

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
