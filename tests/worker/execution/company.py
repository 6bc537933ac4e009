"""The other worker of a job on two nodes, played by a test that talks to the store."""

from dataclasses import dataclass, field
from typing import TypeVar

from redis import Redis

from tests.worker.scenes import LEASE_SECONDS, queued_job, wait_until
from tests.worker.workshop import Workshop
from worker.jobs.job import Job
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.leases import Membership, PendingGang, Rendezvous
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Claim
from worker.jobs.store.workers import WorkerRegistry, WorkerState

HERE = Rendezvous("127.0.0.1", 29_500)

Kind = TypeVar("Kind", Claim, Membership, PendingGang)


@dataclass
class Company:
    """Worker `other`, beside the workshop's own `gpu-0`."""

    workshop: Workshop
    redis: Redis
    registry: WorkerRegistry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = WorkerRegistry(Scripts(self.redis, QueuePolicy()))
        for name in ("gpu-0", "other"):
            self.registry.register(WorkerState(name=name, devices=("cpu-0",)), seconds=60)

    def new_job(self, **parameters: object) -> Job:
        """For two nodes."""
        return queued_job(
            self.workshop.store,
            training_file="data.json",
            hyperparameters={"num_nodes": 2, "max_steps": 6, "save_steps": 4, **parameters},
        )

    def comes(self, kind: type[Kind]) -> Kind:
        """What the other worker gets when it looks for work."""
        found = self.workshop.store.leases.claim_or_wait_for_gang(
            worker="other", num_slots=1, lease_seconds=LEASE_SECONDS
        )
        assert isinstance(found, kind), found
        return found

    def leads(self, job: Job) -> Claim:
        """Waits for the workshop's worker to sit, then claims the job and tells where to meet."""
        wait_until(lambda: self.redis.hget("flant5:worker:gpu-0", "sits_at") == job.id)
        claim = self.comes(Claim)
        directory = self.workshop.run_directory(job.id)
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.run_config.write_text("{}")
        assert self.workshop.store.gangs.publish_rendezvous(claim, HERE)
        return claim

    def wait_for_pid(self, job: Job) -> int:
        wait_until(lambda: self.workshop.pids(job.id), what="a trainer")
        return self.workshop.pids(job.id)[0]
