"""Workers that look for jobs of several nodes."""

from redis import Redis

from flant5_train.protocol.failure import FailureCode
from tests.worker.scenes import LEASE_SECONDS, spec
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.leases import MemberEnd, Membership, PendingGang
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Claim
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState

FAILED = MemberEnd(kind="failed", code=FailureCode.KILLED, message="m", words=("a", "b"))


def appear(redis: Redis, *names: str, num_slots: int = 1) -> WorkerRegistry:
    registry = WorkerRegistry(Scripts(redis, QueuePolicy()))
    for name in names:
        devices = tuple(f"cpu-{name}-{number}" for number in range(num_slots))
        registry.register(WorkerState(name=name, devices=devices), seconds=60)
    return registry


def gang_job(
    store: JobStore, *, num_nodes: int = 2, num_gpus: int = 1, owner: str = "", priority: int = 0
) -> str:
    asked = spec(priority=priority, hyperparameters={"num_nodes": num_nodes, "num_gpus": num_gpus})
    job = store.create(asked, owner=owner)
    store.accept(job.id)
    return job.id


def look(
    store: JobStore, worker: str, *, num_slots: int = 1
) -> Claim | Membership | PendingGang | None:
    return store.leases.claim_or_wait_for_gang(
        worker=worker, num_slots=num_slots, lease_seconds=LEASE_SECONDS
    )


def formed(store: JobStore, *workers: str) -> tuple[Claim, list[Membership]]:
    """The last of the workers leads, the others are members."""
    *others, leader = workers
    for name in others:
        assert isinstance(look(store, name), PendingGang)
    claim = look(store, leader)
    assert isinstance(claim, Claim)
    members = [look(store, name) for name in others]
    return claim, [member for member in members if isinstance(member, Membership)]
