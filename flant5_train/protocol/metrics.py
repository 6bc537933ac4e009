"""Curves of a run, from the records of its `progress.jsonl`.

`curves` returns the points that a record adds, by curve name. `EffectiveSteps` collects the
effective steps: those that survive resumes.
"""

from collections.abc import Mapping
from typing import TypeVar

from flant5_train.protocol.progress import Evaluated, Record, StepTrained, TrainingStarted


def curves(record: StepTrained | Evaluated) -> Mapping[str, float]:
    """Returns the values of a record by curve name.

    Evaluated(eval_loss=0.5, ...) -> {"eval/loss": 0.5, "eval/token_accuracy": 0.8}
    """
    if isinstance(record, Evaluated):
        evaluated = {
            "eval/loss": record.eval_loss,
            "eval/perplexity": record.eval_perplexity,
            "eval/token_accuracy": record.eval_token_accuracy,
            "eval/exact_match": record.eval_exact_match,
            "eval/rouge_l": record.eval_rouge_l,
        }
        return {name: value for name, value in evaluated.items() if value is not None}
    points = {
        "train/loss": record.loss,
        "train/learning_rate": record.learning_rate,
        "train/tokens_per_second": record.tokens_per_second,
    }
    for name in ("grad_norm", "source_fill", "target_fill", "tflops", "mfu", "gpu_memory_bytes"):
        value = getattr(record, name)
        if value is not None:
            points[f"train/{name}"] = value
    return points


Kept = TypeVar("Kept", StepTrained, Evaluated)


class EffectiveSteps:
    """Collects the steps that survive resumes.

    A step trained twice keeps its last record. A resume discards the steps after its checkpoint,
    because that work was lost.
    """

    def __init__(self) -> None:
        self._steps: dict[int, StepTrained] = {}
        self._evaluations: dict[int, Evaluated] = {}

    @property
    def steps(self) -> Mapping[int, StepTrained]:
        """Step records by step number."""
        return self._steps

    @property
    def evaluations(self) -> Mapping[int, Evaluated]:
        """Evaluations by the number of the step before them."""
        return self._evaluations

    def update(self, record: Record) -> None:
        """Processes the next record of the file."""
        if isinstance(record, TrainingStarted):
            self._steps = _up_to(record.step, self._steps)
            self._evaluations = _up_to(record.step, self._evaluations)
        elif isinstance(record, StepTrained):
            self._steps[record.step] = record
        elif isinstance(record, Evaluated):
            self._evaluations[record.step] = record


def _up_to(step: int, records: Mapping[int, Kept]) -> dict[int, Kept]:
    return {number: record for number, record in records.items() if number <= step}
