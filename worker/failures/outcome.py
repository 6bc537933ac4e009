"""Classifies the outcome of an attempt, and decides whether to retry.

The final record of `progress.jsonl` shows success. Otherwise `worker.failures.diagnosis` finds the
cause, and the retry policy maps its failure code to a retry. For a multi-node attempt, `root_cause`
finds the root cause: the node whose failure failed the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flant5_train.protocol.failure import FailureCode
from flant5_train.protocol.progress import ModelSaved, Record, Stopped, parse_record
from worker.failures.diagnosis import VAGUE, Cause, cause_of
from worker.failures.evidence import FailureEvidence, ProcessExit
from worker.failures.retry import RetryPolicy, policy_for
from worker.jobs.job import Job, JobError, model_id
from worker.jobs.storage.log_format import whole_lines, whole_size
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.leases import MemberEnd, MemberStatus
from worker.jobs.store.serialization import Failed, Succeeded

_TAIL_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt ended without an outcome for the job. Another attempt can continue, as often as
    `retry` allows. After that the job fails with `code`."""

    reason: str
    code: FailureCode = FailureCode.WORKER_LOST
    retry: RetryPolicy = RetryPolicy.INFRA_FAILURE


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """File sizes in bytes at which an attempt's own output begins."""

    progress: int
    log: int

    @classmethod
    def of(cls, run_directory: RunDirectory) -> "AttemptStart":
        """Reads the sizes, before the trainer starts. An incomplete last line does not count."""
        return cls(progress=whole_size(run_directory.progress), log=whole_size(run_directory.log))


_UNKNOWN = ProcessExit()


def classify_outcome(
    job: Job, run_directory: RunDirectory, start: AttemptStart, end: ProcessExit = _UNKNOWN
) -> Succeeded | Failed | Interrupted:
    """Returns the outcome of the attempt that began at `start`. Its processes must have exited.

    Failed is final; Interrupted may be retried.
    """
    last = last_record(run_directory.progress, start.progress)
    if isinstance(last, ModelSaved):
        return Succeeded(model_id(job.id, job.spec))
    cause = cause_of(
        FailureEvidence.collect(run_directory, log_start=start.log, end=end),
        stopped_at=last.step if isinstance(last, Stopped) else None,
    )
    return outcome_from_cause(cause)


def outcome_from_cause(cause: Cause) -> Failed | Interrupted:
    """Returns the consequence of a cause for the job."""
    retry = policy_for(cause.code, killed_by=cause.killed_by)
    if retry is RetryPolicy.NEVER:
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


_LOST, _WEIGHTS = 1, {FailureCode.KILLED: 2, FailureCode.INTERNAL: 3, FailureCode.WORKER_LOST: 4}
"""Precedence of causes; the lowest wins. A specific cause has 0. A lost node explains any broken
connection elsewhere, whatever its message. A killed process explains exceptions elsewhere. An
exception explains why other nodes lost a process."""


def root_cause(
    own: Failed | Interrupted, members: Iterable[MemberStatus], *, silent_seconds: float
) -> Failed | Interrupted:
    """Returns the outcome of the attempt: the leader's `own`, or one caused by a member.

    A member without a heartbeat for `silent_seconds` counts as lost.
    """
    candidates: list[tuple[int, Failed | Interrupted]] = []
    for member in members:
        if member.end is not None and member.end.kind == "failed":
            # Nodes share error.json: an equal message is no evidence about this member.
            if member.end.message != _message(own):
                outcome = outcome_from_cause(_cause(member.worker, member.end))
                candidates.append((_weight(outcome), outcome))
        elif is_lost(member, silent_seconds):
            reason = f"no heartbeat from worker {member.worker}"
            candidates.append((_LOST, Interrupted(reason)))
    ours = _weight(own), own
    # If all nodes only lost another one, members win: this worker may have killed its own trainer.
    is_vaguest = ours[0] == max(_WEIGHTS.values())
    candidates = [*candidates, ours] if is_vaguest else [ours, *candidates]
    return min(candidates, key=lambda candidate: candidate[0])[1]


def is_lost(member: MemberStatus, silent_seconds: float) -> bool:
    """Returns True if the last heartbeat of the member is older than `silent_seconds`."""
    return member.silent_seconds is not None and member.silent_seconds > silent_seconds


def _cause(worker: str, end: MemberEnd) -> Cause:
    message = f"on worker {worker}: {end.message}"
    return Cause(end.code, message, param=end.param, killed_by=end.killed_by)


def _message(outcome: Failed | Interrupted) -> str:
    return outcome.error.message if isinstance(outcome, Failed) else outcome.reason


def _weight(outcome: Failed | Interrupted) -> int:
    code = FailureCode(outcome.error.code) if isinstance(outcome, Failed) else outcome.code
    return _WEIGHTS[code] if code in VAGUE else 0
