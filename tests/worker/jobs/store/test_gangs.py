"""Jobs that need several workers at the same time: seats, members, and the attempt as a whole."""

import time
from pathlib import Path

import pytest
from redis import Redis

from tests.worker.jobs.gang_scenes import appear, formed, gang_job, look
from tests.worker.scenes import queued_job
from worker.jobs.job import Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.storage.paths import Home
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.leases import Membership, PendingGang
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Claim, Succeeded
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry


def test_the_last_worker_to_come_leads_and_the_seated_ones_are_members(
    redis: Redis, store: JobStore
) -> None:
    appear(redis, "a", "b", "c")
    job_id = gang_job(store, num_nodes=3)
    assert look(store, "a") == PendingGang(job_id, is_new=True)
    assert look(store, "a") == PendingGang(job_id, is_new=False)
    assert look(store, "b") == PendingGang(job_id, is_new=True)
    assert store.get(job_id).status is Status.QUEUED
    claim = look(store, "c")
    assert isinstance(claim, Claim)
    assert (claim.job.id, claim.attempt) == (job_id, 1)
    assert (claim.job.worker, claim.job.workers) == ("c", ("c", "a", "b"))
    for name, node in (("a", 1), ("b", 2)):
        member = look(store, name)
        assert isinstance(member, Membership)
        assert (member.job.id, member.epoch, member.node) == (job_id, claim.epoch, node)
    event = JobHistory(redis, Home(Path("nowhere"))).events(job_id, limit=1).items[0]
    assert event.message == "Attempt 1 started on workers c, a, b"
    assert event.data["workers"] == ["c", "a", "b"]
    states = WorkerRegistry(Scripts(redis, QueuePolicy())).all()
    assert [state.job_id for state in states] == [job_id] * 3


def test_no_seat_is_taken_where_too_few_workers_could_come(redis: Redis, store: JobStore) -> None:
    registry = appear(redis, "a")
    job_id, small = gang_job(store), queued_job(store).id
    taken = look(store, "a")
    assert isinstance(taken, Claim)
    assert taken.job.id == small, "the job behind it"
    appear(redis, "b")
    assert look(store, "b") is None, "the other one is busy"
    store.leases.finish(taken, Succeeded("ft:x"))
    registry.set_health("a", "GPU 0 is lost")
    assert look(store, "b") is None
    registry.set_health("a", None)
    assert look(store, "b") == PendingGang(job_id, is_new=True)


def test_a_worker_with_too_few_slots_does_not_count(redis: Redis, store: JobStore) -> None:
    appear(redis, "a", "b", num_slots=2)
    appear(redis, "small", num_slots=1)
    job_id = gang_job(store, num_nodes=3, num_gpus=2)
    assert look(store, "a", num_slots=2) is None
    appear(redis, "c", num_slots=2)
    assert look(store, "small") is None
    assert look(store, "a", num_slots=2) == PendingGang(job_id, is_new=True)


def test_a_worker_that_nobody_sees_takes_no_seat(redis: Redis, store: JobStore) -> None:
    appear(redis, "a", "b")
    gang_job(store)
    assert look(store, "unseen") is None


@pytest.mark.parametrize("end", ["expired", "gone", "restarted", "stood up", "sick"])
def test_a_worker_that_is_not_there_any_more_keeps_no_seat(
    redis: Redis, store: JobStore, end: str
) -> None:
    registry = appear(redis, "a", "b", "c")
    job_id = gang_job(store)
    assert isinstance(look(store, "a"), PendingGang)
    if end == "expired":
        redis.hset(keys.worker("a"), "sits_until", int(time.time() * 1000) - 1)
    elif end == "gone":
        registry.deregister("a")
    elif end == "restarted":
        store.leases.release_worker("a")
    elif end == "stood up":
        assert store.gangs.leave_gang("a") is None
    else:
        registry.set_health("a", "GPU 0 is lost")
    assert look(store, "b") == PendingGang(job_id, is_new=True)
    claim = look(store, "c")
    assert isinstance(claim, Claim)
    assert claim.job.workers == ("c", "b")


def test_a_claim_of_a_gang_whose_answer_was_lost_is_given_again(
    redis: Redis, store: JobStore
) -> None:
    appear(redis, "a", "b")
    job_id = gang_job(store)
    script = store.scripts._scripts["claim"]

    def raw(worker: str, token: str) -> list[object]:
        answer: list[object] = script(args=[worker, 1, 60_000, token, 0, 0, 2_000])
        return answer

    assert raw("a", "t1") == ["seated", job_id, 1]
    assert raw("a", "t1") == ["seated", job_id, 0]
    assert [raw("b", "t2"), raw("b", "t2")] == [["claimed", job_id]] * 2
    epoch = str(store.get(job_id).epoch)
    assert [raw("a", "t1"), raw("a", "t3")] == [["member", job_id, epoch, 1]] * 2
    assert store.get(job_id).attempt == 1


def test_two_gang_jobs_do_not_share_out_the_workers_between_them(
    redis: Redis, store: JobStore
) -> None:
    appear(redis, "a", "b", "c", "d")
    first, second = gang_job(store, num_nodes=4), gang_job(store, num_nodes=4)
    for name in ("a", "b", "c"):
        assert look(store, name) == PendingGang(first, is_new=True)
    claim = look(store, "d")
    assert isinstance(claim, Claim)
    assert claim.job.id == first
    store.leases.finish(claim, Succeeded("ft:x"))
    assert isinstance(look(store, "a"), PendingGang)
    assert store.get(second).status is Status.QUEUED


def test_a_worker_moves_to_a_job_that_comes_before_the_one_it_waits_at(
    redis: Redis, store: JobStore
) -> None:
    appear(redis, "a", "b", "c")
    waited_at = gang_job(store, num_nodes=3)
    assert look(store, "a") == PendingGang(waited_at, is_new=True)
    urgent = gang_job(store, num_nodes=2, priority=5)
    assert look(store, "a") == PendingGang(urgent, is_new=True)
    claim = look(store, "b")
    assert isinstance(claim, Claim)
    assert claim.job.workers == ("b", "a")


def test_a_job_of_one_node_is_taken_before_a_gang_behind_it(redis: Redis, store: JobStore) -> None:
    appear(redis, "a", "b")
    gang = gang_job(store)
    urgent = queued_job(store, priority=1).id
    taken = look(store, "a")
    assert isinstance(taken, Claim)
    assert taken.job.id == urgent
    assert look(store, "b") is None
    assert store.get(gang).status is Status.QUEUED


def test_a_gang_is_one_job_of_its_owner(redis: Redis) -> None:
    store = JobStore(redis, QueuePolicy(max_running=1))
    appear(redis, "a", "b", "c", "d")
    first = gang_job(store, owner="alice")
    gang_job(store, owner="alice")
    claim, _ = formed(store, "a", "b")
    assert claim.job.id == first
    assert look(store, "c") is None, "the second one is over the limit"
    store.leases.finish(claim, Succeeded("ft:x"))
    assert isinstance(look(store, "c"), PendingGang)


def test_a_gang_of_small_nodes_is_left_to_small_workers_for_a_moment(redis: Redis) -> None:
    store = JobStore(redis)
    appear(redis, "large", num_slots=4)
    appear(redis, "a", "b")
    job_id = gang_job(store)
    assert look(store, "large", num_slots=4) is None
    redis.hset(keys.job(job_id), "queued_at", int(time.time() * 1000) - 2_500)
    assert isinstance(look(store, "large", num_slots=4), PendingGang)


def test_the_doorbell_of_a_gang_is_rung_only_when_enough_could_come(
    redis: Redis, store: JobStore
) -> None:
    appear(redis, "a")
    job_id = gang_job(store)
    redis.zadd(keys.PENDING_NOTIFICATIONS, {job_id: (time.time() - 3) * 1000})
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == ()
    appear(redis, "b")
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == (job_id,)
    assert isinstance(look(store, "a"), PendingGang)
    redis.zadd(keys.PENDING_NOTIFICATIONS, {job_id: (time.time() - 3) * 1000})
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == (job_id,), (
        "one is seated, one idle"
    )
    assert isinstance(look(store, "b"), Claim)
    assert store.leases.pending_notifications(30, 10, idle_seconds=2) == ()
