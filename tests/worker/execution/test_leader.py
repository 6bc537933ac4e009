"""A worker that leads an attempt on two nodes: what the other node makes of it."""

from collections.abc import Callable

import pytest

from flant5_train.protocol.failure import FailureCode
from tests.worker.execution.company import Company
from tests.worker.scenes import is_alive
from worker.jobs.job import Job, Status
from worker.jobs.store.leases import MemberEnd, Membership, PendingGang

KILLED = MemberEnd(
    kind="failed",
    code=FailureCode.KILLED,
    message="a training process was killed by signal 9 (SIGKILL)",
    killed_by=9,
    words=("loading", "its last words"),
)
BROKEN = MemberEnd(kind="failed", code=FailureCode.WORKER_LOST, message="connection closed by peer")


def lead(
    company: Company,
    job: Job,
    act: Callable[[Membership], object],
    program: str = "trains.py",
) -> Job:
    """The job after an attempt that the workshop's worker leads, while `act` plays the member."""
    assert company.comes(PendingGang).job_id == job.id

    def follow() -> None:
        company.workshop.wait_for_message(job.id, "Attempt 1 started on workers gpu-0, other")
        act(company.comes(Membership))

    return company.workshop.run_while(job.id, follow, program)


def ends(company: Company, end: MemberEnd) -> Callable[[Membership], object]:
    """Once the leader's trainer runs."""

    def act(member: Membership) -> None:
        company.workshop.wait_for_step(member.job.id, 5)
        assert company.workshop.store.gangs.end(member, end)

    return act


def test_a_node_that_fails_ends_the_attempt_with_its_reason(company: Company) -> None:
    job = company.new_job(max_steps=9)
    company.workshop.hold_after(5)
    after = lead(company, job, ends(company, KILLED))
    assert (after.status, after.losses, after.workers) == (Status.QUEUED, 1, ())
    assert not any(map(is_alive, company.workshop.pids(job.id)))
    reason = "on worker other: a training process was killed by signal 9 (SIGKILL)"
    assert company.workshop.messages(job.id)[-1] == f"Job queued again: {reason}"
    lines = [line.line for line in company.workshop.history.logs(job.id, limit=100).items]
    assert lines[-3:] == [
        "[node 1, worker other] its last lines:",
        "loading",
        "its last words",
    ]


def test_a_failure_that_would_come_again_is_the_jobs(company: Company) -> None:
    job = company.new_job(max_steps=9)
    company.workshop.hold_after(5)
    oom = MemberEnd(kind="failed", code=FailureCode.CUDA_OOM, message="CUDA out of memory")
    after = lead(company, job, ends(company, oom))
    assert after.status is Status.FAILED
    assert after.error is not None
    assert after.error.code == "cuda_oom"
    assert after.error.message == "on worker other: CUDA out of memory"


def test_a_node_whose_worker_stops_has_the_leader_save(company: Company) -> None:
    job = company.new_job(max_steps=9, save_steps=100)
    company.workshop.hold_after(5)
    after = lead(company, job, ends(company, MemberEnd(kind="stops")))
    assert (after.status, after.losses, after.attempt) == (Status.QUEUED, 0, 0)
    assert company.workshop.messages(job.id)[-2:] == [
        "Training stopped at step 5 with a checkpoint",
        "Job queued again: one of its workers is shutting down",
    ]


def test_a_node_that_left_before_it_began_costs_no_loss(company: Company) -> None:
    job = company.new_job(max_steps=9)
    company.workshop.hold_after(5)
    after = lead(company, job, ends(company, MemberEnd(kind="left")))
    assert (after.status, after.losses, after.attempt) == (Status.QUEUED, 0, 0)


def test_a_node_that_is_done_does_not_hurry_the_leader(company: Company) -> None:
    job = company.new_job(max_steps=9)
    company.workshop.hold_after(5)

    def act(member: Membership) -> None:
        ends(company, MemberEnd(kind="done"))(member)
        company.workshop.let_go()

    assert lead(company, job, act).status is Status.SUCCEEDED


def test_a_node_without_a_sign_of_life_is_a_loss(company: Company) -> None:
    job = company.new_job(max_steps=9)
    company.workshop.hold_after(5)

    def die(member: Membership) -> None:
        company.workshop.wait_for_step(job.id, 5)
        company.redis.zadd(f"flant5:job:{job.id}:members", {"other": 1})

    after = lead(company, job, die)
    assert (after.status, after.losses) == (Status.QUEUED, 1)
    expected = "Job queued again: no heartbeat from worker other"
    assert company.workshop.messages(job.id)[-1] == expected


def test_an_error_of_the_leader_that_a_lost_node_explains_is_a_loss(company: Company) -> None:
    """Whatever words the broken connection is told in: `internal` would never be tried again."""
    job = company.new_job()
    after = lead(company, job, lambda member: None, "crashes.py")
    assert (after.status, after.losses) == (Status.QUEUED, 1)
    expected = "Job queued again: no heartbeat from worker other"
    assert company.workshop.messages(job.id)[-1] == expected


@pytest.mark.parametrize("end", [BROKEN, MemberEnd(kind="done")])
def test_an_error_of_the_leaders_own_stays_one(company: Company, end: MemberEnd) -> None:
    job = company.new_job()
    after = lead(
        company, job, lambda member: company.workshop.store.gangs.end(member, end), "crashes.py"
    )
    assert after.status is Status.FAILED
    assert after.error is not None
    assert after.error.code == "internal"
    assert "ImportError: libcudart.so.12" in after.error.message


def test_a_reason_in_words_goes_before_what_happened_elsewhere(company: Company) -> None:
    job = company.new_job()
    after = lead(
        company,
        job,
        lambda member: company.workshop.store.gangs.end(member, KILLED),
        "fails_with_error_file.py",
    )
    assert after.status is Status.FAILED
    assert after.error is not None
    assert after.error.code == "bad_data"
