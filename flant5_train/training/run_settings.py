"""Automatic hyperparameters of a run, and warnings about its settings."""

from collections.abc import Iterator
from typing import Any

from flant5_train.arguments import Arguments
from flant5_train.batching.plan import RunPlan
from flant5_train.data.dataset import DataModule
from flant5_train.estimates.flops import ModelShape
from flant5_train.estimates.memory import num_weights
from flant5_train.protocol.auto import AutoChoice
from flant5_train.protocol.progress import AutoChosen, WarningIssued
from flant5_train.protocol.run_warnings import (
    CutPairs,
    RunWarning,
    cut_warnings,
    learning_rate_warning,
    steps_warning,
    validation_warning,
)


def settle(arguments: Arguments, *, plan: RunPlan, config: Any) -> AutoChosen | None:
    """Sets automatic epochs and learning rate in the arguments, before the Trainer reads them.

    Returns their record; None if the caller gave both. `config` is the model's.
    """
    training = arguments.training
    size = num_weights(ModelShape.of(config))
    choice = AutoChoice.of(plan, learning_rate=training.learning_rate, num_weights=size)
    if training.num_train_epochs is None:
        training.num_train_epochs = plan.num_steps / plan.steps_per_epoch
    if choice.learning_rate is not None:
        training.learning_rate = choice.learning_rate
    if (message := choice.sentence()) is None:
        return None
    return AutoChosen(
        num_train_epochs=choice.num_train_epochs,
        learning_rate=choice.learning_rate,
        message=message,
    )


def setting_warnings(
    arguments: Arguments, data: DataModule, plan: RunPlan
) -> Iterator[WarningIssued]:
    """Yields the warnings about pairs and settings, the same as in a plan of this job.

    Call it before `settle`, which replaces submitted values by automatic ones.
    """
    for warning in _found(arguments, data, plan):
        yield WarningIssued(param=warning.param, message=warning.message)


def _found(arguments: Arguments, data: DataModule, plan: RunPlan) -> Iterator[RunWarning]:
    training, report = arguments.training, data["train_dataset"].report()
    longest = training.model_max_length
    yield from cut_warnings(
        CutPairs(
            pairs=report.pairs,
            truncated_sources=report.truncated_sources,
            truncated_targets=report.truncated_targets,
            max_source_length=arguments.data.max_source_length or longest,
            max_target_length=arguments.data.max_target_length or longest,
            longest_source=report.source_lengths.max,
            longest_target=report.target_lengths.max,
        )
    )
    others = (
        validation_warning(has_validation=data["eval_dataset"] is not None),
        learning_rate_warning(
            training.learning_rate,
            finetuning_type=arguments.model.finetuning_type,
            optim=str(getattr(training.optim, "value", training.optim)),
        ),
        steps_warning(plan.num_steps, pairs_per_step=report.pairs / plan.steps_per_epoch),
    )
    yield from (warning for warning in others if warning is not None)
