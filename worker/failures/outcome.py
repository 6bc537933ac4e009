"""Classifies the outcome of an attempt from the files in its run directory.

The final record of `progress.jsonl` shows success. Otherwise `worker.failures.diagnosis` finds the
cause and `worker.causes.retry` decides whether to retry.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flant5_train.protocol.failure import FailureCode
from flant5_train.protocol.progress import ModelSaved, Record, Stopped, parse_record
from worker.causes.retry import Retry, retry_after
from worker.causes.traces import End, Traces
from worker.failures.diagnosis import Cause, cause_of
from worker.jobs.job import Job, JobError, model_id
from worker.jobs.lines import whole_lines, whole_size
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.update import Failed, Succeeded

_TAIL_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt ended without an outcome for the job. Another attempt can continue, as often as
    `retry` allows. After that the job fails with `code`."""

    reason: str
    code: FailureCode = FailureCode.WORKER_LOST
    retry: Retry = Retry.LOSS


@dataclass(frozen=True, slots=True)
class Start:
    """File sizes in bytes at which an attempt's own output begins."""

    progress: int
    log: int

    @classmethod
    def of(cls, run_directory: RunDirectory) -> "Start":
        """Reads the sizes, before the trainer starts. An incomplete last line does not count."""
        return cls(progress=whole_size(run_directory.progress), log=whole_size(run_directory.log))


_UNKNOWN = End()


def judge(
    job: Job, run_directory: RunDirectory, start: Start, end: End = _UNKNOWN
) -> Succeeded | Failed | Interrupted:
    """Returns the outcome of the attempt that began at `start`. Its processes must have exited.

    Failed is final; Interrupted may be retried.
    """
    last = last_record(run_directory.progress, start.progress)
    if isinstance(last, ModelSaved):
        return Succeeded(model_id(job.id, job.spec))
    cause = cause_of(
        Traces.of(run_directory, log_start=start.log, end=end),
        stopped_at=last.step if isinstance(last, Stopped) else None,
    )
    return outcome_of(cause)


def outcome_of(cause: Cause) -> Failed | Interrupted:
    """Returns the consequence of a cause for the job."""
    retry = retry_after(cause.code, killed_by=cause.killed_by)
    if retry is Retry.NEVER:
        return Failed(JobError(code=cause.code.value, message=cause.message, param=cause.param))
    return Interrupted(cause.message, cause.code, retry)


def last_record(path: Path, offset: int) -> Record | None:
    """Returns the last complete record at or after `offset`."""
    tail = max(offset, whole_size(path) - _TAIL_BYTES)
    for line in reversed(whole_lines(path, tail)[0]):
        try:
            return parse_record(line)
        except ValidationError:
            continue  # reported by the pump
    return None
