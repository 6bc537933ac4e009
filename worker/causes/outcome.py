"""What became of an attempt, judged by what it left in its run directory.

The final record of `progress.jsonl` says that it went well; why it did not is
`worker.causes.cause`'s to find and `worker.causes.retry`'s to weigh.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flant5_train.failure import FailureCode
from flant5_train.progress import ModelSaved, Record, Stopped, parse_record
from worker.causes.cause import Cause, cause_of
from worker.causes.retry import Retry, retry_after
from worker.causes.traces import End, Traces
from worker.jobs.home import RunDirectory
from worker.jobs.job import Job, JobError, model_id
from worker.jobs.lines import whole_lines, whole_size
from worker.jobs.update import Failed, Succeeded

_TAIL_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt ended without an outcome for the job; another one can go on, as often as `retry`
    allows. `code` is the job's error when it allows no more."""

    reason: str
    code: FailureCode = FailureCode.WORKER_LOST
    retry: Retry = Retry.LOSS


@dataclass(frozen=True, slots=True)
class Start:
    """Where an attempt's part of the files begins, in bytes."""

    progress: int
    log: int

    @classmethod
    def of(cls, run_directory: RunDirectory) -> "Start":
        """Taken before the trainer starts; a cut last line counts as not written."""
        return cls(progress=whole_size(run_directory.progress), log=whole_size(run_directory.log))


_UNKNOWN = End()


def judge(
    job: Job, run_directory: RunDirectory, start: Start, end: End = _UNKNOWN
) -> Succeeded | Failed | Interrupted:
    """The outcome of the attempt that began at `start`; its processes are gone.

    Failed is final; what may be tried again is Interrupted.
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
    """What follows for the job from why its attempt failed."""
    retry = retry_after(cause.code, killed_by=cause.killed_by)
    if retry is Retry.NEVER:
        return Failed(JobError(code=cause.code.value, message=cause.message, param=cause.param))
    return Interrupted(cause.message, cause.code, retry)


def last_record(path: Path, offset: int) -> Record | None:
    """The last record that is whole, at or after `offset`."""
    tail = max(offset, whole_size(path) - _TAIL_BYTES)
    for line in reversed(whole_lines(path, tail)[0]):
        try:
            return parse_record(line)
        except ValidationError:
            continue  # reported by the pump
    return None
