"""What a job left on disk, read for the checker: the trainers' own files, nothing from Redis."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flant5_train.protocol.progress import (
    ModelSaved,
    Record,
    StepTrained,
    TrainingStarted,
    parse_record,
)
from tests.chaos.testimony import Witness, witnesses
from worker.execution.records import Result, read_result
from worker.jobs.storage.paths import RunDirectory

_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimizer step gave; equal in all runs of a spec, however often interrupted."""

    loss: float
    grad_norm: float | None
    learning_rate: float
    tokens_seen: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The files of one job."""

    job_id: str
    witnesses: tuple[Witness, ...]
    records: tuple[Record, ...]
    bad_lines: tuple[str, ...]
    """Lines of progress.jsonl that are no record."""
    result: Result | None
    weights: str | None
    """sha256 of the final weights."""

    @property
    def steps(self) -> Mapping[int, Step]:
        """By number; of a step that was trained several times the last record counts."""
        return {
            record.step: Step(
                record.loss, record.grad_norm, record.learning_rate, record.tokens_seen
            )
            for record in self.records
            if isinstance(record, StepTrained)
        }

    @property
    def num_resumes(self) -> int:
        """Attempts that went on from a checkpoint."""
        starts = [record for record in self.records if isinstance(record, TrainingStarted)]
        return sum(record.step > 0 for record in starts)

    @property
    def has_trained_to_the_end(self) -> bool:
        return any(isinstance(record, ModelSaved) for record in self.records)


def read_evidence(home: Path, job_id: str) -> Evidence:
    """A job that never came to a trainer has left nothing."""
    directory = RunDirectory(home / "jobs" / job_id)
    records: list[Record] = []
    bad_lines: list[str] = []
    if directory.progress.exists():
        for line in directory.progress.read_bytes().splitlines(keepends=True):
            try:
                records.append(parse_record(line))
            except ValueError:
                if line.endswith(b"\n"):  # a last line may be cut
                    bad_lines.append(line.decode(errors="replace"))
    weights = directory.output / _WEIGHTS
    return Evidence(
        job_id=job_id,
        witnesses=tuple(witnesses(directory.path)),
        records=tuple(records),
        bad_lines=tuple(bad_lines),
        result=read_result(directory.result),
        weights=hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None,
    )
