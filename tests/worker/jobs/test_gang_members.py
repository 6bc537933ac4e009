"""What the workers of one attempt on several nodes hear of each other."""

import time

import pytest
from redis import Redis

from tests.worker.jobs.gang_scenes import FAILED, appear, formed, gang_job, look
from tests.worker.scenes import LEASE_SECONDS, queued_job
from worker.jobs.job import Status
from worker.jobs.store import keys
from worker.jobs.store.leases import MemberEnd, Rendezvous
from worker.jobs.store.serialization import Claim, HeartbeatDirective, InfraFailure
from worker.jobs.store.store import JobStore


def test_members_are_told_where_to_meet_and_when_it_is_over(redis: Redis, store: JobStore) -> None:
    appear(redis, "a", "b")
    gang_job(store)
    claim, (member,) = formed(store, "a", "b")
    assert store.gangs.heartbeat(member) == (HeartbeatDirective.GO_ON, None)
    assert store.gangs.publish_rendezvous(claim, Rendezvous("10.0.0.7", 29_500))
    assert store.gangs.heartbeat(member) == (
        HeartbeatDirective.GO_ON,
        Rendezvous("10.0.0.7", 29_500),
    )
    store.leases.release(claim, reason="x", infra_failure=InfraFailure("worker_lost"))
    assert store.gangs.heartbeat(member) == (HeartbeatDirective.LOST, None)
    assert not store.gangs.publish_rendezvous(claim, Rendezvous("10.0.0.7", 29_500))
    again, (other,) = formed(store, "a", "b")
    assert again.epoch > claim.epoch
    assert store.gangs.heartbeat(member) == (HeartbeatDirective.LOST, None), "of an older epoch"
    assert store.gangs.heartbeat(other) == (HeartbeatDirective.GO_ON, None), (
        "the old place is forgotten"
    )


def test_the_leader_hears_how_the_nodes_of_the_others_end(redis: Redis, store: JobStore) -> None:
    appear(redis, "a", "b", "c")
    gang_job(store, num_nodes=3)
    claim, (first, second) = formed(store, "a", "b", "c")

    def beat() -> HeartbeatDirective:
        return store.leases.heartbeat(claim, LEASE_SECONDS)

    assert beat() is HeartbeatDirective.GO_ON
    assert store.gangs.end(first, MemberEnd(kind="done"))
    assert beat() is HeartbeatDirective.GO_ON, "the leader may still be saving"
    assert store.gangs.end(second, MemberEnd(kind="stops"))
    assert beat() is HeartbeatDirective.MEMBER_STOPS
    store.pause(claim.job.id)
    assert beat() is HeartbeatDirective.PAUSE, "a wish of the caller's comes first"
    assert store.gangs.end(second, FAILED)
    assert beat() is HeartbeatDirective.MEMBER_OVER
    news = store.gangs.members(claim)
    assert [(each.worker, each.node) for each in news] == [("a", 1), ("b", 2)]
    assert news[1].end == FAILED
    assert news[1].silent_seconds is None
    store.cancel(claim.job.id)
    assert beat() is HeartbeatDirective.CANCEL
    assert not store.gangs.end(second, FAILED), "it takes part no longer"


def test_a_member_without_a_sign_of_life_is_over(redis: Redis, store: JobStore) -> None:
    appear(redis, "a", "b")
    gang_job(store)
    claim, (member,) = formed(store, "a", "b")
    long_ago = (time.time() - LEASE_SECONDS - 1) * 1000
    redis.zadd(keys.members(claim.job.id), {"a": long_ago})
    assert store.leases.heartbeat(claim, LEASE_SECONDS) is HeartbeatDirective.MEMBER_OVER
    (news,) = store.gangs.members(claim)
    assert news.silent_seconds == pytest.approx(LEASE_SECONDS + 1, abs=2)
    assert store.gangs.heartbeat(member) == (HeartbeatDirective.GO_ON, None)
    assert store.leases.heartbeat(claim, LEASE_SECONDS) is HeartbeatDirective.GO_ON


@pytest.mark.parametrize("worker", ["a", "b"])
def test_a_gang_whose_worker_was_restarted_is_lost_as_a_whole(
    redis: Redis, store: JobStore, worker: str
) -> None:
    appear(redis, "a", "b")
    gang_job(store)
    claim, (member,) = formed(store, "a", "b")
    assert store.leases.release_worker(worker) == (claim.job.id,)
    job = store.get(claim.job.id)
    assert (job.status, job.losses, job.workers) == (Status.QUEUED, 1, ())
    assert store.leases.heartbeat(claim, LEASE_SECONDS) is HeartbeatDirective.LOST
    assert store.gangs.heartbeat(member) == (HeartbeatDirective.LOST, None)
    assert not redis.exists(keys.members(claim.job.id), f"{keys.job(claim.job.id)}:ends")


def test_a_member_whose_node_has_ended_is_free_again(redis: Redis, store: JobStore) -> None:
    appear(redis, "a", "b")
    gang_job(store)
    claim, (member,) = formed(store, "a", "b")
    store.gangs.end(member, FAILED)
    small = queued_job(store).id
    taken = look(store, "a")
    assert isinstance(taken, Claim)
    assert taken.job.id == small
    assert store.leases.release_worker("a") == (small,)
    assert store.get(claim.job.id).status is Status.RUNNING
