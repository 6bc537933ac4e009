"""The loss curve of a job as columns, read from `progress.jsonl`."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from api.schemas.metrics import Metrics
from flant5_train.progress import Evaluated, Record, StepTrained, TrainingStarted, parse_record

Kept = TypeVar("Kept", StepTrained, Evaluated)

_TRAIN = ("step", "epoch", "loss", "learning_rate", "grad_norm", "tokens_seen", "tokens_per_second")
_EVALUATION = (
    "eval_loss",
    "eval_perplexity",
    "eval_token_accuracy",
    "eval_exact_match",
    "eval_rouge_l",
)


def read_curve(path: Path) -> Metrics:
    """The curve so far; empty columns when the run has written none.

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
    train = {name: _column(steps.values(), name) for name in _TRAIN}
    evaluation = {name: _column(evaluations.values(), name) for name in _EVALUATION}
    evaluation["eval_step"] = _column(evaluations.values(), "step")
    return Metrics.model_validate(
        {**train, **evaluation, "num_malformed_lines": num_malformed_lines}
    )


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


def _column(records: Iterable[StepTrained | Evaluated], name: str) -> tuple[float | None, ...]:
    values = (getattr(record, name) for record in records)
    # JSON has no NaN and no infinity.
    return tuple(value if value is not None and math.isfinite(value) else None for value in values)
