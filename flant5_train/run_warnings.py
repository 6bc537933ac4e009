"""The warnings that a plan gives before a job is submitted, and its run as events.

Neither torch nor numpy is imported here: the service builds its plans from the same sentences.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from flant5_train.config import FinetuningType

RunWarningCode = Literal[
    "answers_cut", "questions_cut", "no_validation", "learning_rate", "few_steps"
]
FEW_STEPS = 100
"""Below, a run is warned of. In measurements (decision 0024) 25 steps taught the demo model single
answers, 100 steps all of 50."""
_MANY_CUT = 0.05
"""Share of the questions cut that is worth a warning; each answer cut is one."""
_RATES = {
    # Below, the weights hardly move; above, runs were seen to explode.
    "full": (1e-6, 1e-3),
    "lora": (1e-5, 5e-3),
    "qlora": (1e-5, 5e-3),
}
_ADAFACTOR_RATES = (1e-5, 1e-2)


@dataclass(frozen=True, slots=True)
class RunWarning:
    """Something that makes a run slower or worse than its owner may expect."""

    code: RunWarningCode
    message: str
    """The value found, its effect, and the next step."""
    param: str | None
    """The field of the job or the hyperparameter that it is about."""


@dataclass(frozen=True, slots=True)
class CutPairs:
    """The pairs of a run that lose tokens to its limits."""

    pairs: int
    truncated_sources: int
    truncated_targets: int
    max_source_length: int
    max_target_length: int
    longest_source: int
    longest_target: int


def cut_warnings(cut: CutPairs) -> Iterator[RunWarning]:
    """Yields those about answers and questions that are longer than their limits."""
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
    """Returns the warning for a run that nothing is held back from."""
    if has_validation:
        return None
    return RunWarning(
        "no_validation",
        "nothing is held back for evaluation, so nobody will see whether the model learns or"
        " memorizes; set validation_split or a validation_file",
        "validation_file",
    )


def learning_rate_warning(
    learning_rate: float | None, *, finetuning_type: FinetuningType, optim: str
) -> RunWarning | None:
    """Returns the warning for a learning rate outside of the usual range. Automatic rates (None)
    are chosen for their model and get none."""
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
    """Returns the warning for a run of few optimizer steps."""
    if num_steps >= FEW_STEPS:
        return None
    return RunWarning(
        "few_steps",
        f"the run has {num_steps} optimizer steps, of {pairs_per_step:.1f} pairs each, and may"
        f" learn next to nothing in fewer than {FEW_STEPS}; leave num_train_epochs and max_steps to"
        " the run (auto), or set more epochs or a smaller batch",
        None,
    )
