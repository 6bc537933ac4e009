"""The store's part in cleaning up after jobs that ended long ago."""

from typing import cast

from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.job import Job, model_id
from worker.jobs.scripts import Scripts


class EndedJobs:
    """Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._scripts = scripts

    def forget(self, job: Job, *, min_age_seconds: float) -> bool:
        """All that the store has of a job is gone, and its id is among `forgotten`. False, and
        nothing is changed, unless it failed or was cancelled and that was so long ago."""
        args = (job.id, model_id(job.id, job.spec), int(min_age_seconds * 1000))
        return bool(self._scripts.run_durably("forget", *args))

    def forgotten(self) -> tuple[str, ...]:
        """The deleted jobs whose files may still be there."""
        with unavailable():
            ids = cast(set[str], self._redis.smembers(keys.FORGOTTEN))
        return tuple(sorted(ids))

    def files_are_gone(self, job_id: str) -> None:
        with unavailable():
            self._redis.srem(keys.FORGOTTEN, job_id)

    def forget_checkpoints(self, job_id: str, *, min_age_seconds: float, reason: str) -> bool:
        """The list of the job's checkpoints is empty, and an event says why. False, and nothing is
        changed, unless the job ended so long ago."""
        args = (job_id, int(min_age_seconds * 1000), f"Checkpoints removed: {reason}")
        return bool(self._scripts.run("forget_checkpoints", *args))
