"""Jobs and cached data of any age, and the controller that clears them away."""

import os
import time
from pathlib import Path

from redis import Redis

from tests.worker.scenes import claimed_job
from worker.controller.deletions import UnfinishedDeletions
from worker.controller.retention import DAY_SECONDS, Retention
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job, JobError, Status, model_id
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store import keys
from worker.jobs.store.serialization import (
    Cancelled,
    Failed,
    NewCheckpoint,
    Outcome,
    Succeeded,
    Update,
)
from worker.jobs.store.store import JobStore
from worker.settings import WorkerSettings

OUTCOMES = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


AGE_DAYS = 10


class Attic:
    """Jobs that ended ten days ago, with their files."""

    def __init__(self, store: JobStore, redis: Redis, home: Path) -> None:
        self.store = store
        self.redis = redis
        self.home = home

    def settings(self, **days: float) -> WorkerSettings:
        return WorkerSettings.model_validate({"home": self.home, "worker_name": "gpu-0"} | days)

    def clean(self, **days: float) -> None:
        """What a controller does about deletions, and all portions of one cleanup."""
        self.finish_deletions()
        cleanup = Retention(self.store, self.settings(**days))
        for _ in range(100):
            cleanup.step()

    def finish_deletions(self) -> None:
        """As a controller that has just been started."""
        self.unfinished_deletions().step()

    def unfinished_deletions(self) -> UnfinishedDeletions:
        return UnfinishedDeletions(self.store, self.redis, self.settings().home_directories)

    def ended(self, status: Status, *, suffix: str | None = None) -> Job:
        claim = claimed_job(self.store, suffix=suffix)
        job = claim.job
        checkpoint = NewCheckpoint(step=4, path="output/checkpoint-4", metrics={})
        self.store.leases.record(claim, Update(checkpoints=(checkpoint,)))
        outcomes: dict[Status, Outcome] = {
            Status.SUCCEEDED: Succeeded(model_id(job.id, job.spec)),
            Status.FAILED: Failed(JobError(code="internal", message="no")),
            Status.CANCELLED: Cancelled(),
        }
        assert self.store.leases.finish(claim, outcomes[status])
        self.write_files(job)
        finished_at = time.time() - AGE_DAYS * DAY_SECONDS
        self.redis.hset(keys.job(job.id), "finished_at", str(int(finished_at * 1000)))
        return self.store.get(job.id)

    def write_files(self, job: Job) -> None:
        JobRecordStore(self.settings().home_directories).write(job)
        files = self.files(job)
        for directory in (files.output, files.output / "checkpoint-4"):
            directory.mkdir(exist_ok=True)
            (directory / "config.json").write_text("{}")
        files.log.write_text("a line\n")
        files.result.write_text("{}")

    def files(self, job: Job) -> RunDirectory:
        return self.settings().home_directories.run_directory(job.id)

    def names(self, job: Job) -> set[str]:
        """All files of the job but its lock."""
        path = self.files(job).path
        names = {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()}
        return names - {"lock"}

    def is_known(self, job: Job) -> bool:
        try:
            self.store.get(job.id)
        except NotFoundError:
            return False
        return True


ALL_FILES = {
    *("job.json", "train.log", "result.json"),
    *("output/config.json", "output/checkpoint-4/config.json"),
}


def cache_entry(entry: Path, *, days: float) -> Path:
    entry.mkdir(parents=True)
    (entry / "tokens.bin").write_bytes(b"12")
    (entry / "manifest.json").write_text("{}")
    used_at = time.time() - days * DAY_SECONDS
    os.utime(entry / "manifest.json", (used_at, used_at))
    return entry
