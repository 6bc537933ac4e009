"""What the checker makes of a Redis that came back as it was before."""

from tests.chaos.caller import Acknowledged
from tests.chaos.checker import NOTICE_SECONDS, check_losses, check_repeats
from tests.chaos.faults import KINDS, places_of_rollbacks, plan
from tests.chaos.rollback import Rollback
from worker.jobs.storage.store_losses import DataLoss

ROLLBACK = Rollback(at=100.0, back_at=102.0, seconds=10.0, num_lost=3)


def answers(first_at: float, second_at: float, *, has_key: bool) -> list[Acknowledged]:
    return [
        Acknowledged("s", "one rank", f"ftjob-{at:g}", at=at, has_key=has_key)
        for at in (first_at, second_at)
    ]


def test_a_repetition_may_make_a_second_job_only_after_the_first_was_forgotten() -> None:
    for has_key in (False, True):
        assert check_repeats(answers(95, 103, has_key=has_key), [ROLLBACK]) == []
        assert check_repeats(answers(95, 103, has_key=has_key), []) != [], "no rollback"
        assert check_repeats(answers(80, 103, has_key=has_key), [ROLLBACK]) != [], "was kept"
        assert check_repeats(answers(95, 99, has_key=has_key), [ROLLBACK]) != [], "before it"
        assert check_repeats(answers(103, 104, has_key=has_key), [ROLLBACK]) != [], "after it"
    late = 102 + NOTICE_SECONDS + 1
    assert check_repeats(answers(95, late, has_key=False), [ROLLBACK]) == []
    assert check_repeats(answers(95, late, has_key=True), [ROLLBACK]) != [], "its key was restored"


def test_a_job_that_replaced_a_forgotten_one_answers_the_next_repetition_too() -> None:
    first, second = answers(95, 103, has_key=False)
    third = Acknowledged("s", "one rank", second.job_id, at=104, has_key=False)
    assert check_repeats([first, second, third], [ROLLBACK]) == []
    other = Acknowledged("s", "one rank", first.job_id, at=104, has_key=False)
    assert check_repeats([first, second, other], [ROLLBACK]) != []


def test_a_loss_that_nobody_reported_is_a_violation() -> None:
    def reported(*at: float) -> list[DataLoss]:
        return [DataLoss(noticed_at=each, cause="it went back") for each in at]

    assert check_losses([ROLLBACK], reported(50, 102.5)) == []
    assert check_losses([ROLLBACK], reported(50)) != []
    assert check_losses([ROLLBACK], reported(102 + NOTICE_SECONDS)) != []
    nothing_lost = Rollback(at=100.0, back_at=102.0, seconds=10.0, num_lost=0)
    assert check_losses([nothing_lost], []) == []


def test_rollbacks_stand_at_places_that_follow_from_the_seed() -> None:
    places = places_of_rollbacks(3, num_rollbacks=20, num_faults=40)
    assert places == places_of_rollbacks(3, num_rollbacks=20, num_faults=40)
    assert len(places) == 20
    faults = [fault for fault, _ in zip(plan(3, rollbacks=places), range(40), strict=False)]
    assert all(faults[place].kind == "roll redis back" for place in places)
    others = [fault for fault, _ in zip(plan(3), range(40), strict=False)]
    assert [each.seconds for each in others][:1] == [faults[0].seconds]
    assert "roll redis back" in KINDS
