"""The promises, checked: each function takes what was seen and returns what was broken."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.caller import Acknowledged, Seen
from tests.chaos.evidence import Evidence
from tests.chaos.processes import Look, TrainerProcess
from tests.chaos.rollback import Rollback
from tests.chaos.testimony import launches
from tests.stack.service import FINAL
from worker.jobs.storage.store_losses import DataLoss

SLACK_SECONDS = 2.0
NOTICE_SECONDS = 20.0
"""Time for one round of a controller that may have been killed as well, on a busy machine."""
ORPHAN_SECONDS = 5.0
"""Time a process of an attempt that is over has to be gone."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and what shows it."""

    rule: str
    job_id: str
    account: str


def check_repeats(
    acknowledged: Iterable[Acknowledged], rollbacks: Sequence[Rollback] = ()
) -> list[Violation]:
    """All answers to one submission name one job, and no two submissions share one. A repetition
    may make a second job when Redis has just forgotten the first one."""
    answers: dict[tuple[str, float], set[str]] = {}
    """Jobs by submission and the time at which Redis first knew, or knew again, of it."""
    by_job: dict[str, set[str]] = {}
    first: dict[str, Acknowledged] = {}
    for one in acknowledged:
        earlier = first.setdefault(one.submission, one)
        if one.job_id != earlier.job_id and _is_forgotten_between(earlier, one, rollbacks):
            first[one.submission] = earlier = one
        answers.setdefault((one.submission, earlier.at), set()).add(one.job_id)
        by_job.setdefault(one.job_id, set()).add(one.submission)
    doubled = [
        Violation("one submission, one job", min(jobs), f"{submission} became {sorted(jobs)}")
        for (submission, _), jobs in answers.items()
        if len(jobs) > 1
    ]
    shared = [
        Violation("one submission, one job", job_id, f"it answers {sorted(submissions)}")
        for job_id, submissions in by_job.items()
        if len(submissions) > 1
    ]
    return doubled + shared


def _is_forgotten_between(
    earlier: Acknowledged, later: Acknowledged, rollbacks: Sequence[Rollback]
) -> bool:
    """With a key only until the controller has restored the first job, which brings its key
    back."""
    return any(
        earlier.at < one.back_at
        and later.at > one.at
        and one.at - earlier.at < one.seconds + SLACK_SECONDS
        and (not later.has_key or later.at - one.back_at < NOTICE_SECONDS)
        for one in rollbacks
    )


def check_losses(rollbacks: Sequence[Rollback], losses: Sequence[DataLoss]) -> list[Violation]:
    """Returns a violation for each rollback with losses that no controller reported in time."""
    return [
        Violation(
            "every loss is reported",
            "",
            f"Redis came back at {one.back_at:.2f} without {one.num_lost} changes; the next report "
            f"after {seconds_to_notice(one, losses)} s",
        )
        for one in rollbacks
        if one.num_lost and (seconds_to_notice(one, losses) or NOTICE_SECONDS) >= NOTICE_SECONDS
    ]


def seconds_to_notice(rollback: Rollback, losses: Sequence[DataLoss]) -> float | None:
    """From the server's first answer to the report; None when there was none."""
    later = [loss.noticed_at for loss in losses if loss.noticed_at > rollback.at]
    return max(0.0, min(later) - rollback.back_at) if later else None


def check_end(
    evidence: Evidence, *, status: str | None, seen: Seen | None, is_cancelled: bool
) -> list[Violation]:
    """An acknowledged job is there, in a final state that stays and that its files agree with;
    the faults are no reason to fail. `status` is None when the service doesn't know the job,
    `is_cancelled` says that somebody asked for that."""

    def broken(account: str) -> list[Violation]:
        return [Violation("no acknowledged job is lost", evidence.job_id, account)]

    if status is None:
        return broken("the service does not know it")
    if status not in FINAL:
        return broken(f"it is {status}")
    if seen is not None and seen.status != status:
        return broken(f"it was {seen.status} and is {status}")
    if status == "failed":
        return broken("it failed")
    if status == "cancelled":
        return [] if is_cancelled else broken("it is cancelled, which nobody asked for")
    if not evidence.has_trained_to_the_end or evidence.weights is None:
        return broken("it succeeded, but its files hold no model")
    if evidence.result is None or evidence.result.model is None:
        return broken(f"it succeeded, but its result is {evidence.result}")
    return []


def check_overlaps(evidence: Evidence) -> list[Violation]:
    """No process of an attempt lived before all of the attempt before it were dead."""
    lives = launches(list(evidence.witnesses))
    found = []
    for number, life in enumerate(lives):
        for later in lives[number + 1 :]:
            if later.first < life.last:
                account = (
                    f"launch {later.name} began at {later.first:.2f}, "
                    f"{life.last - later.first:.2f} s before the last word of {life.name}"
                )
                found.append(Violation("attempts never overlap", evidence.job_id, account))
    return found


def check_orphans(looks: Sequence[Look], ends: Mapping[str, Seen]) -> list[Violation]:
    """No process outlives its attempt by more than a few seconds: the death of its worker, or
    the end of its job. One that is stopped, or whose worker is, has that time from when it goes
    on."""
    since: dict[tuple[int, int], float] = {}
    found: dict[tuple[int, int], Violation] = {}
    for look in looks:
        orphans = {
            (one.pid, one.started): one for one in look.processes if _is_orphan(one, look, ends)
        }
        since = {key: since.get(key, look.at) for key in orphans}
        for key, one in orphans.items():
            if look.at - since[key] > ORPHAN_SECONDS and key not in found:
                account = (
                    f"process {one.pid} has been left since {since[key]:.2f}, seen at "
                    f"{look.at:.2f}; its ancestors: {one.ancestors}; {one.command}"
                )
                found[key] = Violation("no orphan process", one.job_id, account)
    return list(found.values())


def _is_orphan(one: TrainerProcess, look: Look, ends: Mapping[str, Seen]) -> bool:
    if one.is_stopped:
        return False
    has_ended = one.job_id in ends and look.at > ends[one.job_id].at
    return has_ended or look.workers.isdisjoint(one.ancestors)


def check_result(evidence: Evidence, reference: Evidence) -> list[Violation]:
    """A job that succeeded gave what an uninterrupted run of its spec gives, bit by bit."""

    def differs(account: str) -> Violation:
        return Violation("the same result", evidence.job_id, account)

    found = [differs(f"no record: {line!r}") for line in evidence.bad_lines]
    if evidence.weights != reference.weights:
        found.append(differs(f"weights {evidence.weights}, expected {reference.weights}"))
    for number in sorted(evidence.steps.keys() | reference.steps.keys()):
        step, expected = evidence.steps.get(number), reference.steps.get(number)
        if step != expected:
            found.append(differs(f"step {number}: {step}, expected {expected}"))
            break  # all that follow differ as well
    return found
