"""Runs as a trainer writes them, and the process that ships them, started by hand."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flant5_train.protocol.metrics import curves
from flant5_train.protocol.progress import DataRead, Evaluated, Record, StepTrained, TrainingStarted
from tests.worker.scenes import wait_until
from worker.integrations.export_task import ExportReport, ExportTask, JobEnded, MetricReader, Step
from worker.jobs.job import JobSpec, Status

JOB_ID = "ftjob-abcdefghijklmnopqrstuvwx"
DATA = DataRead(at=1.0, split="train", report={"pairs": 3, "left_out": {"empty": 1}})


def step(number: int, *, loss: float | None = None, at: float = 0.0) -> StepTrained:
    """Its loss tells which step it is, unless another one is given."""
    return StepTrained(
        at=at or 1_764_000_000.0 + number,
        step=number,
        max_steps=100,
        epoch=number / 10,
        loss=1 / number if loss is None else loss,
        learning_rate=1e-3,
        tokens_seen=100 * number,
        tokens_per_second=50.0,
        eta_seconds=1.0,
    )


def evaluation(number: int) -> Evaluated:
    return Evaluated(
        at=1_764_000_000.5 + number,
        step=number,
        eval_loss=2 / number,
        eval_token_accuracy=0.5,
        eval_tokens=10,
    )


def started(number: int) -> TrainingStarted:
    return TrainingStarted(step=number, max_steps=100, num_pairs=3, num_processes=1)


def write(path: Path, *records: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(record.model_dump_json() + "\n" for record in records)


INTERRUPTED: tuple[Record, ...] = (
    DATA,
    started(0),
    *map(step, range(1, 5)),
    evaluation(4),
    step(5),
    # Killed, and gone on with from the checkpoint of step 3: with other times and another pace.
    DATA,
    started(3),
    step(4, at=1_764_000_100.0, loss=0.999),
    evaluation(4),
    step(5, at=1_764_000_101.0, loss=0.999),
    evaluation(5),
    step(6),
)


def expected_points(records: Iterable[Record]) -> dict[tuple[str, int], float]:
    """Each point as it was the first time."""
    points: dict[tuple[str, int], float] = {}
    for record in records:
        if isinstance(record, StepTrained | Evaluated):
            for name, value in curves(record).items():
                points.setdefault((name, record.step), value)
    return points


def points_of(steps: Iterable[Step]) -> list[tuple[tuple[str, int], float]]:
    return [((name, each.number), value) for each in steps for name, value in each.points.items()]


def read_all(path: Path) -> list[Step]:
    reader = MetricReader(path)
    return [*reader.read(), *reader.rest()]


@dataclass
class Shipped:
    """A shipping process and what it said."""

    process: subprocess.Popen[bytes]
    reports: list[ExportReport] = field(default_factory=list)
    thread: threading.Thread | None = None

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.reports if each.url is not None]

    def end(self, status: Status) -> ExportReport:
        """The last report, after the job has ended so."""
        assert self.process.stdin is not None
        self.process.stdin.write(JobEnded(status=status).model_dump_json().encode() + b"\n")
        self.process.stdin.flush()
        self.process.wait(timeout=120)
        assert self.thread is not None
        self.thread.join(timeout=60)
        return self.reports[-1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)


@contextmanager
def shipping(assignment: ExportTask) -> Iterator[Shipped]:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.integrations.exporter"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(assignment.model_dump_json().encode() + b"\n")
    process.stdin.flush()
    shipped, lines = Shipped(process), process.stdout

    def listen() -> None:
        shipped.reports.extend(map(ExportReport.model_validate_json, lines))

    shipped.thread = threading.Thread(target=listen)
    shipped.thread.start()
    try:
        yield shipped
    finally:
        process.kill()
        process.wait(timeout=60)
        shipped.thread.join(timeout=60)
        process.stdin.close()
        process.stdout.close()


def assignment(directory: Path, *, integration: dict[str, Any], account: object) -> ExportTask:
    spec = {
        "model": "flant5-demo",
        "training_file": "chats.json",
        "integrations": [integration],
        "hyperparameters": {"num_train_epochs": 3},
    }
    return ExportTask.model_validate(
        {
            "type": integration["type"],
            "job_id": JOB_ID,
            "owner": "alice",
            "spec": JobSpec.model_validate(spec | {"metadata": {"team": "a"}}),
            "fine_tuned_model": "ft:flant5-demo:flant5::qrstuvwx",
            "error": None,
            "run_directory": directory,
            "account": account,
        }
    )


def has_said(shipped: Shipped) -> bool:
    """Whether it has looked at the file at least twice since it began."""
    return len([each for each in shipped.reports if each == ExportReport()]) > 1


def wait_until_followed(shipped: Shipped) -> None:
    wait_until(lambda: has_said(shipped), seconds=120, what=json.dumps(str(shipped.reports)))
