"""A store that can be lost, and what has to be the same after its recovery."""

import pytest
from redis import Redis

from tests.worker.scenes import spec, wait_until
from tests.worker.workshop import Workshop
from worker.controller.recovery import Recoverer
from worker.execution.records import AttemptRecord, write_attempt
from worker.jobs.job import Job, Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.store.recovery import Recovery, RecoveryRequests
from worker.jobs.store.redis import Scripts


class LosableStore:
    """The workshop and its ledger, as the API keeps it, and a controller's recoverer."""

    def __init__(self, workshop: Workshop, redis: Redis) -> None:
        self.workshop = workshop
        self.redis = redis
        self.store = workshop.store
        self.job_records = JobRecordStore(workshop.settings.home_directories)
        self.desk = RecoveryRequests(Scripts(redis, QueuePolicy()))
        self.recoverer = self.new_recoverer()

    def new_recoverer(self) -> Recoverer:
        return Recoverer(self.store, self.desk, self.workshop.settings)

    def create(self, **changes: object) -> Job:
        job = self.store.create(spec(**{"training_file": "data.json"} | changes))
        self.job_records.write(job)
        return job

    def queued(self, **changes: object) -> Job:
        parameters = {"max_steps": 6, "save_steps": 4}
        job = self.create(**{"hyperparameters": parameters} | changes)
        assert self.store.accept(job.id)
        return self.store.get(job.id)

    def cancelled(self, job: Job) -> Job:
        job = self.store.cancel(job.id)
        self.job_records.write(job)
        return job

    def paused(self, job: Job) -> Job:
        job = self.store.pause(job.id)
        self.job_records.write(job)
        return job

    def resumed(self, job: Job) -> Job:
        job = self.store.resume(job.id)
        self.job_records.write(job)
        return job

    def lose_the_store(self) -> None:
        self.redis.flushall()

    def recover(self, recoverer: Recoverer | None = None) -> Recovery:
        self.desk.request()

        def is_done() -> bool:
            (recoverer or self.recoverer).step()
            state = self.desk.state()
            return state is not None and state.status == "done"

        wait_until(is_done, what="the recovery")
        done = self.desk.state()
        assert done is not None
        return done

    def everything(self, job_id: str) -> dict[str, object]:
        """What callers see of a job, but for what only the store wrote or counts anew."""
        job = self.store.get(job_id)
        changing = {"epoch", "attempt", "worker", "last_heartbeat_at", "run_seconds"}
        changing |= {"queued_at", "losses", "failures", "retry_at"}
        history = self.workshop.history
        events = history.events_since(job_id, limit=10_000).items
        return {
            "job": job.model_dump(exclude=changing | {"finished_at"}),
            "finished_at": job.finished_at,
            "events": [
                event.model_dump(exclude={"id", "seq"})
                for event in events
                if "status" not in event.data and event.data
            ],
            "logs": [line.model_dump(exclude={"id"}) for line in history.logs(job_id).items],
            "checkpoints": [
                checkpoint.model_dump(exclude={"id"})
                for checkpoint in history.checkpoints(job_id, limit=100).items
            ],
        }


def assert_same(after: dict[str, object], before: dict[str, object]) -> None:
    # The worker's clock tells the end on disk, the server's in the store.
    assert after.pop("finished_at") == pytest.approx(before["finished_at"], abs=30)
    assert after == {name: value for name, value in before.items() if name != "finished_at"}


def run_to_the_middle(service: LosableStore, job: Job) -> Job:
    """The worker stops after a checkpoint; the job is back in the queue."""
    workshop = service.workshop
    workshop.hold_after(5)

    def stop() -> None:
        workshop.wait_for_step(job.id, 5)
        workshop.stopping.set()

    stopped = workshop.run_while(job.id, stop)
    workshop.stopping.clear()
    workshop.let_go()
    assert stopped.status is Status.QUEUED
    return stopped


def write_begun(service: LosableStore, job: Job) -> None:
    record = AttemptRecord(epoch=1, attempt=1, worker="gpu-0", host="here", started_at=1e9)
    write_attempt(service.workshop.run_directory(job.id).attempt, record)
