"""Loss curve and speed of a job, read from its `progress.jsonl`."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from flant5_train.kept_steps import KeptSteps
from flant5_train.protocol.progress import Evaluated, Record, StepTrained, parse_record

_END_BYTES = 256 * 1024
"""Bytes read at each end of a file to find its first and its last steps."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The steps and evaluations that a run recorded, by step number."""

    steps: Mapping[int, StepTrained]
    evaluations: Mapping[int, Evaluated]
    num_malformed_lines: int


def read_steps(path: Path) -> Curve:
    """Returns the curve so far; empty when the run has recorded no step."""
    kept = KeptSteps()
    num_malformed_lines = 0
    for line in _lines(path):
        record = _parsed(line)
        if record is None:
            num_malformed_lines += 1
        else:
            kept.take(record)
    return Curve(kept.steps, kept.evaluations, num_malformed_lines)


@dataclass(frozen=True, slots=True)
class StepSpan:
    """The span from the end of a run's first step to the end of its last one. It includes
    evaluations and checkpoints, and excludes the first step, which compiles."""

    seconds: float
    tokens_per_second: float
    flops_per_second: float


def read_step_span(path: Path) -> StepSpan | None:
    """Returns the span of a run of one attempt; None before its third step, or when its records
    lack a needed value. Reads only the two ends of the file, however long it is."""
    first = next(_steps(_head(path)), None)
    last_steps = [*_steps(_tail(path))]
    if first is None or not last_steps or last_steps[-1].step < first.step + 2:
        return None
    last = last_steps[-1]
    seconds, tokens = last.at - first.at, last.tokens_seen - first.tokens_seen
    # Operations per token are constant over a run, except for the lengths of its pairs.
    flops = [step.tflops * 1e12 / step.tokens_per_second for step in last_steps if step.tflops]
    if seconds <= 0 or tokens <= 0 or not flops:
        return None
    return StepSpan(seconds, tokens / seconds, median(flops) * tokens / seconds)


def _steps(lines: Iterable[bytes]) -> Iterator[StepTrained]:
    for line in lines:
        record = _parsed(line)
        if isinstance(record, StepTrained):
            yield record


def _head(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            return file.read(_END_BYTES).split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def _tail(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _END_BYTES)
            file.seek(start)
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return lines[1:] if start else lines  # the first line may be cut


def _lines(path: Path) -> Iterable[bytes]:
    """Yields the complete lines; a last one without its newline is still being written."""
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
