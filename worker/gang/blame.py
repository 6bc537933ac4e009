"""Finds the root cause of a failed multi-node attempt: the node whose failure failed the others."""

from collections.abc import Iterable

from flant5_train.protocol.failure import FailureCode
from worker.failures.diagnosis import VAGUE, Cause
from worker.failures.outcome import Interrupted, outcome_of
from worker.jobs.gang import MemberEnd, MemberNews
from worker.jobs.update import Failed

_LOST, _WEIGHTS = 1, {FailureCode.KILLED: 2, FailureCode.INTERNAL: 3, FailureCode.WORKER_LOST: 4}
"""Precedence of causes; the lowest wins. A specific cause has 0. A lost node explains any broken
connection elsewhere, whatever its message. A killed process explains exceptions elsewhere. An
exception explains why other nodes lost a process."""


def blame(
    own: Failed | Interrupted, members: Iterable[MemberNews], *, silent_seconds: float
) -> Failed | Interrupted:
    """Returns the outcome of the attempt: the leader's `own`, or one caused by a member.

    A member without a heartbeat for `silent_seconds` counts as lost.
    """
    candidates: list[tuple[int, Failed | Interrupted]] = []
    for member in members:
        if member.end is not None and member.end.kind == "failed":
            # Nodes share error.json: an equal message is no evidence about this member.
            if member.end.message != _message(own):
                outcome = outcome_of(_cause(member.worker, member.end))
                candidates.append((_weight(outcome), outcome))
        elif is_lost(member, silent_seconds):
            reason = f"no heartbeat from worker {member.worker}"
            candidates.append((_LOST, Interrupted(reason)))
    ours = _weight(own), own
    # If all nodes only lost another one, members win: this worker may have killed its own trainer.
    is_vaguest = ours[0] == max(_WEIGHTS.values())
    candidates = [*candidates, ours] if is_vaguest else [ours, *candidates]
    return min(candidates, key=lambda candidate: candidate[0])[1]


def is_lost(member: MemberNews, silent_seconds: float) -> bool:
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
