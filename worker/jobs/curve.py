"""The loss curve of a job, read from its `progress.jsonl`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from flant5_train.progress import Evaluated, Record, StepTrained, TrainingStarted, parse_record

Kept = TypeVar("Kept", StepTrained, Evaluated)


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run has written of its steps, by their number."""

    steps: Mapping[int, StepTrained]
    evaluations: Mapping[int, Evaluated]
    num_malformed_lines: int


def read_steps(path: Path) -> Curve:
    """The curve so far; empty when the run has written none.

    A step that was trained twice keeps its last record, and steps after the checkpoint that a run
    resumed from are left out until they are trained again: that work was lost.
    """
    steps: dict[int, StepTrained] = {}
    evaluations: dict[int, Evaluated] = {}
    num_malformed_lines = 0
    for line in _lines(path):
        record = _parsed(line)
        if record is None:
            num_malformed_lines += 1
        elif isinstance(record, TrainingStarted):
            steps = _up_to(record.step, steps)
            evaluations = _up_to(record.step, evaluations)
        elif isinstance(record, StepTrained):
            steps[record.step] = record
        elif isinstance(record, Evaluated):
            evaluations[record.step] = record
    return Curve(steps, evaluations, num_malformed_lines)


def _lines(path: Path) -> Iterable[bytes]:
    """The whole lines; a last one without its newline is still being written."""
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except FileNotFoundError:
        return


def _parsed(line: bytes) -> Record | None:
    try:
        return parse_record(line)
    except ValidationError:
        return None


def _up_to(step: int, records: Mapping[int, Kept]) -> dict[int, Kept]:
    return {number: record for number, record in records.items() if number <= step}
