"""The checker sees each broken promise in made-up evidence, and none where there is none."""

from pathlib import Path

import pytest

from flant5_train.protocol.progress import ModelSaved, StepTrained
from tests.chaos.caller import Acknowledged, Seen
from tests.chaos.checker import (
    check_end,
    check_orphans,
    check_overlaps,
    check_repeats,
    check_result,
)
from tests.chaos.evidence import Evidence, read_evidence
from tests.chaos.processes import Look, TrainerProcess
from tests.chaos.testimony import Witness, WitnessLog, launches, witnesses
from worker.execution.records import Result

JOB = "ftjob-1"
WORKER = 100
SAVED = ModelSaved(path="output", step=2, train_loss=1.0, tokens_seen=20)


def told(launch: str, first: float, last: float, *, rank: int = 0) -> Witness:
    return Witness(
        launch=launch, rank=rank, pid=int(first), first=first, last=last, has_ended=False
    )


def step(number: int, *, loss: float) -> StepTrained:
    return StepTrained(
        step=number,
        max_steps=2,
        epoch=0.5,
        loss=loss,
        learning_rate=1e-4,
        tokens_seen=10 * number,
        tokens_per_second=10,
        eta_seconds=0,
    )


def evidence(
    *records: StepTrained | ModelSaved,
    lives: tuple[Witness, ...] = (),
    weights: str | None = "abc",
    result: Result | None = Result(epoch=1, model="ft:model"),  # noqa: B008
) -> Evidence:
    return Evidence(
        job_id=JOB,
        witnesses=lives,
        records=records,
        bad_lines=(),
        result=result,
        weights=weights,
    )


DONE = evidence(step(1, loss=3.0), step(2, loss=2.0), SAVED)


def test_attempts_one_after_the_other_do_not_overlap() -> None:
    apart = (told("a", 1, 2), told("a", 1.1, 2.2, rank=1), told("b", 2.3, 4), told("c", 5, 6))
    assert check_overlaps(evidence(lives=apart)) == []


def test_an_attempt_that_begins_before_the_last_word_of_the_one_before_is_reported() -> None:
    late_rank = (told("a", 1, 2), told("a", 1.1, 2.6, rank=1), told("b", 2.3, 4))
    (violation,) = check_overlaps(evidence(lives=late_rank))
    assert violation.rule == "attempts never overlap"
    assert "0.30 s before" in violation.account


def test_an_attempt_within_a_longer_one_is_reported_although_another_lies_between() -> None:
    nested = (told("a", 1, 9), told("b", 2, 3), told("c", 4, 5))
    assert len(check_overlaps(evidence(lives=nested))) == 2


def process(*ancestors: int, is_stopped: bool = False) -> TrainerProcess:
    return TrainerProcess(
        pid=7,
        started=1,
        job_id=JOB,
        command="rank",
        is_stopped=is_stopped,
        ancestors=ancestors,
    )


def looks(process: TrainerProcess, *, seconds: int) -> list[Look]:
    return [Look(at, frozenset({WORKER}), (process,)) for at in range(seconds)]


def test_a_process_of_a_living_worker_is_no_orphan() -> None:
    assert check_orphans(looks(process(50, WORKER), seconds=60), {}) == []


def test_a_process_without_a_worker_is_reported_once_after_five_seconds() -> None:
    orphan = process(50)
    assert check_orphans(looks(orphan, seconds=6), {}) == []
    (violation,) = check_orphans(looks(orphan, seconds=30), {})
    assert violation.rule == "no orphan process"
    assert violation.job_id == JOB


def test_a_process_that_goes_on_after_the_end_of_its_job_is_reported() -> None:
    alive = looks(process(WORKER), seconds=30)
    assert check_orphans(alive, {JOB: Seen("cancelled", at=27)}) == []
    assert len(check_orphans(alive, {JOB: Seen("cancelled", at=10)})) == 1


def test_a_stopped_process_has_its_time_from_when_it_goes_on() -> None:
    stopped = looks(process(50, is_stopped=True), seconds=60)
    assert check_orphans(stopped, {}) == []
    gone_on = [Look(look.at + 60, look.workers, (process(50),)) for look in stopped]
    assert check_orphans([*stopped, *gone_on[:5]], {}) == []
    assert len(check_orphans([*stopped, *gone_on[:8]], {})) == 1


def test_another_process_of_the_same_id_has_its_own_time() -> None:
    first = looks(process(50), seconds=4)
    other = TrainerProcess(
        pid=7, started=2, job_id=JOB, command="rank", is_stopped=False, ancestors=(50,)
    )
    second = [Look(look.at + 4, look.workers, (other,)) for look in first]
    assert check_orphans([*first, *second], {}) == []


def test_a_job_that_ended_well_breaks_nothing() -> None:
    seen = Seen("succeeded", at=1)
    assert check_end(DONE, status="succeeded", seen=seen, is_cancelled=False) == []
    assert check_end(evidence(), status="cancelled", seen=None, is_cancelled=True) == []


@pytest.mark.parametrize(
    ("status", "account"),
    [
        (None, "the service does not know it"),
        ("running", "it is running"),
        ("failed", "it failed"),
        ("cancelled", "nobody asked for"),
    ],
)
def test_a_lost_job_is_reported(status: str | None, account: str) -> None:
    (violation,) = check_end(DONE, status=status, seen=None, is_cancelled=False)
    assert violation.rule == "no acknowledged job is lost"
    assert account in violation.account


def test_a_final_state_that_changes_is_reported() -> None:
    seen = Seen("cancelled", at=1)
    (violation,) = check_end(DONE, status="succeeded", seen=seen, is_cancelled=True)
    assert violation.account == "it was cancelled and is succeeded"


@pytest.mark.parametrize(
    "left",
    [
        evidence(step(1, loss=3.0)),
        evidence(SAVED, weights=None),
        evidence(SAVED, result=None),
        evidence(SAVED, result=Result(epoch=1, is_cancelled=True)),
    ],
)
def test_a_success_without_the_files_of_one_is_reported(left: Evidence) -> None:
    assert len(check_end(left, status="succeeded", seen=None, is_cancelled=False)) == 1


def test_a_submission_that_became_two_jobs_is_reported() -> None:
    answers = [Acknowledged("s1", "one rank", "a"), Acknowledged("s1", "one rank", "a")]
    assert check_repeats(answers) == []
    (violation,) = check_repeats([*answers, Acknowledged("s1", "one rank", "b")])
    assert "s1 became ['a', 'b']" in violation.account


def test_two_submissions_that_became_one_job_are_reported() -> None:
    answers = [Acknowledged("s1", "one rank", "a"), Acknowledged("s2", "one rank", "a")]
    assert len(check_repeats(answers)) == 1


def test_a_step_that_was_trained_again_counts_once() -> None:
    again = evidence(step(1, loss=3.5), step(1, loss=3.0), step(2, loss=2.0), SAVED)
    assert check_result(again, DONE) == []


@pytest.mark.parametrize(
    "other",
    [
        evidence(step(1, loss=3.0), step(2, loss=2.1), SAVED),
        evidence(step(2, loss=2.0), SAVED),
        evidence(step(1, loss=3.0), step(2, loss=2.0), SAVED, weights="def"),
    ],
)
def test_another_result_than_the_uninterrupted_one_is_reported(other: Evidence) -> None:
    (violation,) = check_result(other, DONE)
    assert violation.rule == "the same result"


def test_a_line_that_is_no_record_is_reported(tmp_path: Path) -> None:
    directory = tmp_path / "jobs" / JOB
    directory.mkdir(parents=True)
    line = SAVED.model_dump_json()
    (directory / "progress.jsonl").write_text(f"{line}\n{{broken\n{line}\n{{cut")
    read = read_evidence(tmp_path, JOB)
    assert read.records == (SAVED, SAVED)
    assert read.bad_lines == ("{broken\n",)
    assert any("no record" in one.account for one in check_result(read, read))


def test_a_process_id_that_is_used_again_makes_two_testimonies(tmp_path: Path) -> None:
    for launch in ("a", "b"):
        log = WitnessLog(tmp_path)
        log.start(launch=launch, rank=0)
        log.append("beat")
    log.append("end")
    first, second = witnesses(tmp_path)
    assert (first.launch, first.has_ended) == ("a", False)
    assert (second.launch, second.has_ended) == ("b", True)
    assert [life.name for life in launches([first, second])] == ["a", "b"]
