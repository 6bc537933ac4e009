"""Reads a run's `progress.jsonl` and `train.log`, and writes the result file of its job.

The curve and the speed come from `progress.jsonl`. Lines of `train.log` that the store has dropped
are read by the store's cursors. A line's id is `<byte offset of its end in the file>-<its number>`,
such as 73129-812. The next line is found without reading the lines before it.

The result file has the step metrics of a successful job as CSV, a row per step:

    step,epoch,train_loss,learning_rate,grad_norm,tokens_seen,tokens_per_second,valid_loss,...
    1,0.1,2.5,0.0001,1.25,640,5120.0,,

It is an ordinary file with the purpose `fine-tune-results`. Its id is derived from the job, so it
need not be stored.
"""

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from flant5_train.protocol.metrics import EffectiveSteps
from flant5_train.protocol.progress import Evaluated, Record, StepTrained, parse_record
from worker.jobs.events import LogLine
from worker.jobs.job import Job
from worker.jobs.storage.files import FILE_IDS, FileStore, NewFile
from worker.jobs.storage.job_record import JobRecord
from worker.jobs.storage.log_format import parse_line, whole_lines
from worker.jobs.storage.paths import Home

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
    kept = EffectiveSteps()
    num_malformed_lines = 0
    for line in _lines(path):
        record = _parsed(line)
        if record is None:
            num_malformed_lines += 1
        else:
            kept.update(record)
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


PURPOSE = "fine-tune-results"
FILENAME = "step_metrics.csv"

_MAX_BYTES = 2**32
_TRAINED = {
    "epoch": "epoch",
    "loss": "train_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "tokens_seen": "tokens_seen",
    "tokens_per_second": "tokens_per_second",
    "source_fill": "source_fill",
    "target_fill": "target_fill",
    "tflops": "tflops",
    "mfu": "mfu",
}
"""Fields of a step's record -> column names, which match those of the SDK's checkpoints."""
_EVALUATED = {
    "eval_loss": "valid_loss",
    "eval_token_accuracy": "valid_mean_token_accuracy",
    "eval_perplexity": "valid_perplexity",
    "eval_exact_match": "valid_exact_match",
    "eval_rouge_l": "valid_rouge_l",
}


def result_file_id(job: Job | JobRecord) -> str:
    """Returns the id of a job's result file, which need not exist."""
    return FILE_IDS.of(job.id, at_seconds=job.created_at)


def keep_result_file(job: Job, home: Home) -> None:
    """Writes the file, and replaces one of an earlier try. Raises StorageFullError, OSError."""
    files = FileStore(home, None)
    new = NewFile(id=result_file_id(job), filename=FILENAME, purpose=PURPOSE, owner=job.owner)
    curve = read_steps(home.run_directory(job.id).progress)
    files.clear(new.id)
    files.write(new, chunks=_rows(curve), max_bytes=_MAX_BYTES)


def _rows(curve: Curve) -> Iterator[bytes]:
    yield _row(["step", *_TRAINED.values(), *_EVALUATED.values()])
    for step in sorted(curve.steps.keys() | curve.evaluations.keys()):
        trained, evaluated = curve.steps.get(step), curve.evaluations.get(step)
        numbers = [getattr(trained, name, None) for name in _TRAINED]
        numbers += [getattr(evaluated, name, None) for name in _EVALUATED]
        yield _row([step, *numbers])


def _row(cells: list[object]) -> bytes:
    """Encodes a row; missing and non-finite numbers are empty cells."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(
        "" if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in cells
    )
    return text.getvalue().encode()


def position_of(line_id: str | None) -> tuple[int, int]:
    """Returns the end offset of a line and its number; for None, those of the log's beginning."""
    if line_id is None:
        return 0, 0
    offset, seq = map(int, line_id.split("-"))
    return offset, seq


def lines_after(path: Path, line_id: str | None, *, limit: int) -> list[LogLine]:
    """Returns at most `limit` lines after the line `line_id`; empty if the file is gone.

    Raises ValueError if no line ends at that offset.
    """
    offset, seq = position_of(line_id)
    if not path.exists():
        return []
    if not _is_line_end(path, offset):
        raise ValueError(f"no line of {path} ends at byte {offset}")
    raw_lines, _ = whole_lines(path, offset, max_lines=limit)
    # For a line whose beginning was lost in a crash: the file's last modification.
    at = path.stat().st_mtime
    lines = []
    for raw in raw_lines:
        offset, seq = offset + len(raw), seq + 1
        told_at, stream, text = parse_line(raw)
        at = at if told_at is None else told_at
        lines.append(
            LogLine(id=f"{offset}-{seq}", seq=seq, created_at=at, stream=stream, line=text)
        )
    return lines


def _is_line_end(path: Path, offset: int) -> bool:
    if offset == 0:
        return True
    with path.open("rb") as file:
        file.seek(offset - 1)
        return file.read(1) == b"\n"
