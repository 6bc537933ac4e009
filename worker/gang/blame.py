"""Which node of a failed attempt is to blame: the others fail only because it did."""

from collections.abc import Iterable

from flant5_train.failure import FailureCode
from worker.causes.cause import VAGUE, Cause
from worker.causes.outcome import Interrupted, outcome_of
from worker.jobs.gang import MemberEnd, MemberNews
from worker.jobs.update import Failed

_LOST, _WEIGHTS = 1, {FailureCode.KILLED: 2, FailureCode.INTERNAL: 3, FailureCode.WORKER_LOST: 4}
"""A cause that says what was wrong goes before all of these (0). A node that is lost explains
any broken connection elsewhere, also one in words that nobody knows; a killed process explains the
exceptions of others; an exception explains that the others lost a process."""


def blame(
    own: Failed | Interrupted, members: Iterable[MemberNews], *, silent_seconds: float
) -> Failed | Interrupted:
    """The outcome of the attempt: the leader's `own`, or what a member makes of it. A member that
    said nothing for `silent_seconds` is lost."""
    candidates: list[tuple[int, Failed | Interrupted]] = []
    for member in members:
        if member.end is not None and member.end.kind == "failed":
            # They read the same error.json, which says nothing of them then.
            if member.end.message != _message(own):
                outcome = outcome_of(_cause(member.worker, member.end))
                candidates.append((_weight(outcome), outcome))
        elif is_lost(member, silent_seconds):
            reason = f"no sign of life from worker {member.worker}"
            candidates.append((_LOST, Interrupted(reason)))
    ours = _weight(own), own
    # Of nodes that only lost another one, ours may have been ended by ourselves.
    is_vaguest = ours[0] == max(_WEIGHTS.values())
    candidates = [*candidates, ours] if is_vaguest else [ours, *candidates]
    return min(candidates, key=lambda candidate: candidate[0])[1]


def is_lost(member: MemberNews, silent_seconds: float) -> bool:
    """Whether the member has been silent for so long."""
    return member.silent_seconds is not None and member.silent_seconds > silent_seconds


def _cause(worker: str, end: MemberEnd) -> Cause:
    message = f"on worker {worker}: {end.message}"
    return Cause(end.code, message, param=end.param, killed_by=end.killed_by)


def _message(outcome: Failed | Interrupted) -> str:
    return outcome.error.message if isinstance(outcome, Failed) else outcome.reason


def _weight(outcome: Failed | Interrupted) -> int:
    code = FailureCode(outcome.error.code) if isinstance(outcome, Failed) else outcome.code
    return _WEIGHTS[code] if code in VAGUE else 0
