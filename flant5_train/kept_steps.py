"""Effective steps of a run, from the records of its `progress.jsonl`."""

from collections.abc import Mapping
from typing import TypeVar

from flant5_train.protocol.progress import Evaluated, Record, StepTrained, TrainingStarted

Kept = TypeVar("Kept", StepTrained, Evaluated)


class KeptSteps:
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

    def take(self, record: Record) -> None:
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
