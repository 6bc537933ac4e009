"""A worker that runs one node of an attempt which another one leads."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli.stack.redis import EmbeddedRedis
from flant5_train.protocol.failure import FailureCode
from tests.worker.execution.company import Company
from tests.worker.scenes import is_alive, wait_until
from tests.worker.workshop import Workshop, open_workshop
from worker.context import open_context
from worker.execution.gang import Member
from worker.execution.runner import find_work
from worker.jobs.job import Job, Status
from worker.jobs.storage.lock import take_lock
from worker.jobs.store import keys
from worker.jobs.store.leases import Membership, MemberStatus, PendingGang
from worker.jobs.store.redis import open_redis
from worker.jobs.store.serialization import Cancelled, Claim, HeartbeatDirective, InfraFailure
from worker.processes.trainer_process import torchrun_argv

PROGRAM = "ends_when_told.py"


def run_member(company: Company, job: Job, act: Callable[[Claim], object]) -> list[Claim]:
    """The workshop's worker as a member, while `act(claim)` plays the leader."""
    claims: list[Claim] = []

    def lead() -> None:
        claims.append(company.leads(job))
        act(claims[0])

    company.workshop.run_while(job.id, lead, PROGRAM)
    return claims


def news(company: Company, claim: Claim) -> MemberStatus:
    (found,) = company.workshop.store.gangs.members(claim)
    return found


def let_end(company: Company, job: Job, exit_code: int) -> None:
    company.wait_for_pid(job)
    (company.workshop.run_directory(job.id).path / "end").write_text(str(exit_code))


def test_a_member_that_ends_well_says_so(company: Company) -> None:
    job = company.new_job()
    (claim,) = run_member(company, job, lambda claim: let_end(company, job, 0))
    member = news(company, claim)
    assert (member.worker, member.node, member.silent_seconds) == ("gpu-0", 1, None)
    assert member.end is not None
    assert member.end.kind == "done"
    directory = company.workshop.run_directory(job.id)
    assert "the member's first words" in directory.on_node(1).log.read_text()
    assert not directory.log.exists(), "that is the leader's"


def test_a_member_that_fails_tells_the_cause_and_its_last_words(company: Company) -> None:
    job = company.new_job()
    (claim,) = run_member(company, job, lambda claim: let_end(company, job, 3))
    end = news(company, claim).end
    assert end is not None
    assert (end.kind, end.code) == ("failed", FailureCode.INTERNAL)
    assert "exit code 3" in end.message
    assert end.words[-1] == "the member's last words"
    store = company.workshop.store
    assert store.leases.heartbeat(claim, 60) is HeartbeatDirective.MEMBER_OVER


@pytest.mark.parametrize("end", ["cancelled", "released", "claimed again"])
def test_a_member_ends_its_trainer_when_the_attempt_is_over(company: Company, end: str) -> None:
    job, leases = company.new_job(), company.workshop.store.leases

    def finish(claim: Claim) -> None:
        company.wait_for_pid(job)
        if end == "cancelled":
            assert leases.finish(claim, Cancelled())
        else:
            leases.release(claim, reason="x", infra_failure=InfraFailure("worker_lost"))
        if end == "claimed again":
            company.redis.hset(keys.job(job.id), "num_nodes", 1)
            assert leases.claim(worker="third", num_slots=1, lease_seconds=60)

    run_member(company, job, finish)
    assert not any(map(is_alive, company.workshop.pids(job.id)))


def test_a_member_without_redis_ends_its_trainer(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        workshop = open_workshop(server.url, tmp_path)
        with open_redis(server.url) as redis:
            company = Company(workshop, redis)
            job = company.new_job()

            def freeze(claim: Claim) -> None:
                pid = company.wait_for_pid(job)
                server_pid = int(redis.info("server")["process_id"])
                os.kill(server_pid, signal.SIGSTOP)
                try:
                    fence = workshop.settings.self_fence_seconds
                    wait_until(lambda: not is_alive(pid), seconds=fence + 4)
                finally:
                    os.kill(server_pid, signal.SIGCONT)

            (claim,) = run_member(company, job, freeze)
            assert workshop.store.get(job.id).epoch == claim.epoch, "the leader is to find out"


def test_a_member_whose_worker_stops_leaves_it_to_the_leader_to_save(company: Company) -> None:
    job = company.new_job()

    def stop(claim: Claim) -> None:
        pid = company.wait_for_pid(job)
        company.workshop.stopping.set()

        def beat() -> HeartbeatDirective:
            return company.workshop.store.leases.heartbeat(claim, 60)

        wait_until(lambda: beat() is HeartbeatDirective.MEMBER_STOPS)
        assert is_alive(pid)
        let_end(company, job, 0)

    (claim,) = run_member(company, job, stop)
    end = news(company, claim).end
    assert end is not None
    assert end.kind == "done"


def test_a_member_that_stops_before_it_began_leaves_at_once(company: Company) -> None:
    job, workshop = company.new_job(), company.workshop
    context = open_context(workshop.settings, trainer_argv=torchrun_argv, is_stopping=lambda: True)
    sat = workshop.store.leases.claim_or_wait_for_gang(
        worker="gpu-0", num_slots=1, lease_seconds=60
    )
    assert isinstance(sat, PendingGang)
    claim = company.comes(Claim)
    found = find_work(context, num_slots=1)
    assert isinstance(found, Membership), "the others came before it stood up"
    with context.slot_locks.take_free(context.slots) as held:
        Member(found, held, context).run()
    end = news(company, claim).end
    assert end is not None
    assert end.kind == "left"
    assert not workshop.run_directory(job.id).on_node(1).log.exists()


def test_a_worker_that_stops_gives_its_seat_back(company: Company) -> None:
    company.new_job()
    stops = iter((False, True, True))
    context = open_context(
        company.workshop.settings, trainer_argv=torchrun_argv, is_stopping=lambda: next(stops)
    )
    assert find_work(context, num_slots=1) is None
    assert not company.redis.hexists("flant5:worker:gpu-0", "sits_at")


def test_a_seat_is_given_back_when_nobody_comes(company: Company) -> None:
    job = company.new_job()
    short = company.workshop.settings.model_copy(update={"gang_wait_seconds": 0.3})
    workshop = Workshop(short, company.workshop.store, company.workshop.history)
    assert workshop.run(job.id).status is Status.QUEUED
    assert not company.redis.hexists("flant5:worker:gpu-0", "sits_at")
    assert company.redis.llen(keys.NOTIFICATIONS) == 1, "its doorbell was rung for the others"


def test_a_worker_that_waits_for_others_takes_what_comes_first_meanwhile(company: Company) -> None:
    job = company.new_job()
    small: list[Job] = []

    def submit() -> None:
        wait_until(lambda: company.redis.hget("flant5:worker:gpu-0", "sits_at") == job.id)
        # In this order: without the small job, a look between the two would find nothing to do.
        small.append(company.workshop.new_job())
        company.registry.deregister("other")

    company.workshop.run_while(job.id, submit, "trains.py")
    assert company.workshop.store.get(small[0].id).status is Status.SUCCEEDED
    assert company.workshop.store.get(job.id).status is Status.QUEUED


def test_a_member_does_not_train_where_another_attempt_still_runs(company: Company) -> None:
    job = company.new_job()
    lock = take_lock(company.workshop.run_directory(job.id).lock, patience_seconds=0)
    try:
        (claim,) = run_member(company, job, lambda claim: None)
    finally:
        os.close(lock)
    end = news(company, claim).end
    assert end is not None
    assert (end.kind, end.code) == ("failed", FailureCode.WORKER_LOST)
    assert "is locked by another process" in end.message
