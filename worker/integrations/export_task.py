"""The export of one job to one integration: protocol, growing run, curves and integration types.

The export scheduler and the export process exchange one JSON message per line:

    scheduler -> process, standard input:   the ExportTask, then {"status": "succeeded"} once the
                                            job no longer runs; end of file: stop at once
    process -> scheduler, standard output:  reports, the last one with `is_done` or a `problem`

Each integration type has a module with the function `export`. Its arguments are the task, the
growing run, and a sender of reports. The module is imported in a separate process per job, which
isolates the tracker's library. Each type also has an account class in
`worker.integrations.accounts`.

The curves of a run grow in `progress.jsonl`. A run that was paused or killed repeats the steps
since its checkpoint, with the same losses. Trackers cannot retract points. So `MetricReader`
returns each step as first recorded, in every reader and on every pass.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field

from flant5_train.protocol.metrics import curves
from flant5_train.protocol.progress import DataRead, Evaluated, Record, StepTrained, parse_record
from worker.jobs.job import Job, JobSpec, Status, model_id


@dataclass(frozen=True, slots=True)
class Step:
    """All points of one optimizer step."""

    number: int
    at: float
    """Time of the first point, in Unix seconds."""
    points: dict[str, float]


class MetricReader:
    """Incremental reader. Each read continues where the last one stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._open: Step | None = None
        self.data: dict[str, object] = {}
        """Data summaries read so far, by split."""

    def read(self) -> Iterator[Step]:
        """Yields new complete steps: all but the last one in the file.

        Raises OSError, and ValueError for an invalid line.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for record in self._records(file):
                yield from self._take(record)

    def rest(self) -> Iterator[Step]:
        """Yields the last step. Call it once the file is complete."""
        if self._open is not None:
            yield self._open

    def _records(self, file: BinaryIO) -> Iterator[Record]:
        file.seek(self._offset)
        for line in file:
            if not line.endswith(b"\n"):
                return  # still being written
            self._offset += len(line)
            yield parse_record(line)

    def _take(self, record: Record) -> Iterator[Step]:
        if isinstance(record, DataRead):
            self.data = self.data | {record.split: record.report}
        if not isinstance(record, StepTrained | Evaluated):
            return
        last, points = self._open, dict(curves(record))
        if last is None or record.step > last.number:
            self._open = Step(record.step, record.at, points)
            if last is not None:
                yield last
        elif record.step == last.number:
            self._open = Step(last.number, last.at, points | last.points)


def flatten(report: object, *, prefix: str) -> dict[str, str]:
    """Flattens nested numbers and texts to dotted names.

    flat({"pairs": 3, "left_out": {"empty": 1}}, prefix="data.train")
    -> {"data.train.pairs": "3", "data.train.left_out.empty": "1"}
    """
    if isinstance(report, dict):
        return {
            name: value
            for key, part in report.items()
            for name, value in flatten(part, prefix=f"{prefix}.{key}").items()
        }
    if isinstance(report, list | tuple) or report is None:
        return {}
    return {prefix: str(report)}


class _ExportMessage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ExportTask(_ExportMessage):
    """One integration of one job."""

    type: str
    job_id: str
    owner: str
    spec: JobSpec
    fine_tuned_model: str
    """The current or future id of the model."""
    error: str | None
    """The error of a failed job."""
    run_directory: Path
    account: dict[str, Any] = Field(repr=False)
    """A table of the integrations file, with secrets."""

    @property
    def settings(self) -> Any:
        """The caller's settings of this integration, such as a WandbRun."""
        (integration,) = (each for each in self.spec.integrations if each.type == self.type)
        return getattr(integration, self.type)


class JobEnded(_ExportMessage):
    """The job is no longer running: it has ended, is paused, or is queued again."""

    status: Status


class ExportReport(_ExportMessage):
    """A heartbeat (all defaults), a URL, a problem, or completion."""

    url: str | None = None
    problem: str | None = None
    is_final: bool = False
    """True if a retry would hit the same problem."""
    is_done: bool = False


def export_task_for(
    job: Job, *, kind: str, run_directory: Path, account: dict[str, Any]
) -> ExportTask:
    return ExportTask(
        type=kind,
        job_id=job.id,
        owner=job.owner,
        spec=job.spec.model_copy(update={"hyperparameters": job.hyperparameters}),
        fine_tuned_model=job.fine_tuned_model or model_id(job.id, job.spec),
        error=job.error.message if job.error else None,
        run_directory=run_directory,
        account=account,
    )


POLL_SECONDS = 1.0
LEFT_ALONE = 3
"""Exit code after the scheduler has exited."""


class ExportError(Exception):
    """The export failed. The message contains no secrets. `is_final`: a retry would also fail."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class ExportReporter:
    """Sends reports to the scheduler. Redirects other writes to standard output to standard
    error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def alive(self) -> None:
        self._write(ExportReport())

    def url(self, url: str) -> None:
        self._write(ExportReport(url=url))

    def done(self) -> None:
        self._write(ExportReport(is_done=True))

    def problem(self, text: str, *, is_final: bool = False) -> None:
        self._write(ExportReport(problem=text, is_final=is_final))

    def _write(self, report: ExportReport) -> None:
        self._out.write(report.model_dump_json() + "\n")
        self._out.flush()


class RunTailer:
    """A run as it grows."""

    def __init__(self, reader: MetricReader, reporter: ExportReporter, messages: FileIO) -> None:
        self._reader = reader
        self._reporter = reporter
        self._messages = messages
        self._has_ended = threading.Event()
        self.status: Status | None = None
        """Status of the job once it is no longer running, None before."""

    @property
    def data(self) -> dict[str, object]:
        return self._reader.data

    def batches(self) -> Iterator[Sequence[Step]]:
        """Yields batches of new steps, possibly empty, until the job is no longer running."""
        while True:
            # Read before the steps: a run writes all its records before its status changes.
            status = self.status
            steps = list(self._reader.read())
            if status is not None and status.is_final:
                steps += self._reader.rest()
            yield steps
            if status is not None:
                return
            self._reporter.alive()
            self._has_ended.wait(POLL_SECONDS)

    def watch_scheduler(self) -> None:
        """Receives the job's end, and exits this process when the scheduler exits.

        Without the latter, the next scheduler could start a second export beside a blocked one.
        """
        for line in self._messages:
            self.status = JobEnded.model_validate_json(line).status
            self._has_ended.set()
        os._exit(LEFT_ALONE)


@dataclass(frozen=True, slots=True)
class IntegrationType:
    title: str
    """Display name."""
    module: str
    is_about_model: bool = False
    """True if only succeeded jobs are exported."""


KINDS = {
    "wandb": IntegrationType("Weights & Biases", "worker.integrations.wandb"),
    "mlflow": IntegrationType("MLflow", "worker.integrations.mlflow"),
    "huggingface": IntegrationType(
        "Hugging Face Hub", "worker.integrations.huggingface", is_about_model=True
    ),
}
