"""Warnings about a run, shown in its plan before submission and as events of the run.

Neither torch nor numpy is imported here: the service builds its plans with this module.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from flant5_train.config import FinetuningType

RunWarningCode = Literal[
    "answers_cut", "questions_cut", "no_validation", "learning_rate", "few_steps"
]
FEW_STEPS = 100
"""Runs with fewer steps get a warning. In measurements (decision 0024), the demo model learned
single answers in 25 steps, and all 50 in 100 steps."""
_MANY_CUT = 0.05
"""Minimum share of cut questions for a warning. A single cut answer causes one."""
_RATES = {
    # Below, the weights hardly change; above, runs diverged.
    "full": (1e-6, 1e-3),
    "lora": (1e-5, 5e-3),
    "qlora": (1e-5, 5e-3),
}
_ADAFACTOR_RATES = (1e-5, 1e-2)


@dataclass(frozen=True, slots=True)
class RunWarning:
    """A cause that may make a run slower or worse than expected."""

    code: RunWarningCode
    message: str
    """The value found, its effect, and the next step."""
    param: str | None
    """The job field or hyperparameter concerned."""


@dataclass(frozen=True, slots=True)
class CutPairs:
    """Counts of pairs that lose tokens to the length limits."""

    pairs: int
    truncated_sources: int
    truncated_targets: int
    max_source_length: int
    max_target_length: int
    longest_source: int
    longest_target: int


def cut_warnings(cut: CutPairs) -> Iterator[RunWarning]:
    """Yields the warnings about answers and questions longer than their limits."""
    if cut.truncated_targets:
        yield RunWarning(
            "answers_cut",
            f"{cut.truncated_targets} of {cut.pairs} answers are longer than"
            f" {cut.max_target_length} tokens and lose their end; the longest has"
            f" {cut.longest_target}",
            "max_target_length",
        )
    if cut.truncated_sources > _MANY_CUT * cut.pairs:
        yield RunWarning(
            "questions_cut",
            f"{cut.truncated_sources} of {cut.pairs} questions are longer than"
            f" {cut.max_source_length} tokens and lose their oldest turns; the longest has"
            f" {cut.longest_source}",
            "max_source_length",
        )


def validation_warning(*, has_validation: bool) -> RunWarning | None:
    """Returns the warning for a run without validation data."""
    if has_validation:
        return None
    return RunWarning(
        "no_validation",
        "there is no validation data, so overfitting will go unnoticed; set validation_split or a"
        " validation_file",
        "validation_file",
    )


def learning_rate_warning(
    learning_rate: float | None, *, finetuning_type: FinetuningType, optim: str
) -> RunWarning | None:
    """Returns the warning for a learning rate outside the usual range.

    Automatic rates (None) suit their model and get none.
    """
    low, high = _ADAFACTOR_RATES if optim == "adafactor" else _RATES[finetuning_type]
    if learning_rate is None or low <= learning_rate <= high:
        return None
    side = "low" if learning_rate < low else "high"
    return RunWarning(
        "learning_rate",
        f"learning_rate {learning_rate:g} is unusually {side} for finetuning_type"
        f" {finetuning_type} with {optim}; usual is {low:g} to {high:g}",
        "learning_rate",
    )


def steps_warning(num_steps: int, *, pairs_per_step: float) -> RunWarning | None:
    """Returns the warning for a run with few optimizer steps."""
    if num_steps >= FEW_STEPS:
        return None
    return RunWarning(
        "few_steps",
        f"the run has only {num_steps} optimizer steps, of {pairs_per_step:.1f} pairs each; a run"
        f" of fewer than {FEW_STEPS} steps may learn next to nothing. Leave num_train_epochs and"
        " max_steps automatic, or set more epochs or a smaller batch",
        None,
    )
