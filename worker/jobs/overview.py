"""Snapshot of the whole service's statistics. Its cost does not grow with ended jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from redis import Redis

from worker.jobs.job import Job
from worker.jobs.life import Status
from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable
from worker.jobs.store.serialization import read_job
from worker.jobs.store.workers import WorkerState, workers_here

_INDEXES = {
    Status.VALIDATING_FILES: keys.VALIDATING,
    Status.QUEUED: keys.QUEUED,
    Status.RUNNING: keys.RUNNING,
}
_VERDICTS = ("accepted", "rejected")


@dataclass(frozen=True, slots=True)
class Overview:
    """Job counts, running jobs and workers at one moment."""

    num_jobs: Mapping[Status, int]
    longest_wait_seconds: float
    """Time in the queue of the job that has waited longest; 0 if no job is queued."""
    num_checks: Mapping[str, int]
    """Finished file checks by verdict, since the store was created."""
    running: tuple[Job, ...]
    workers: tuple[WorkerState, ...]


def look(redis: Redis) -> Overview:
    """Takes a snapshot. Raises StoreUnavailableError."""
    with unavailable(), redis.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.hgetall(keys.COUNTS)
        for index in _INDEXES.values():
            pipeline.zcard(index)
        pipeline.zrange(keys.WAITING_SINCE, 0, 0, withscores=True)
        pipeline.zrange(keys.RUNNING, 0, -1)
        (seconds, microseconds), counts, *sizes, oldest, running_ids = pipeline.execute()
    now = seconds + microseconds / 1e6
    # The size of an index is exact, even in a store that began counting late.
    indexed = dict(zip(_INDEXES, sizes, strict=True))
    counted = {status: max(0, int(counts.get(status, 0))) for status in Status}
    return Overview(
        num_jobs=counted | indexed,
        longest_wait_seconds=max((now - since / 1000 for _, since in oldest), default=0.0),
        num_checks={verdict: int(counts.get(verdict, 0)) for verdict in _VERDICTS},
        running=_running(redis, running_ids),
        workers=workers_here(redis),
    )


def _running(redis: Redis, job_ids: list[str]) -> tuple[Job, ...]:
    with unavailable(), redis.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.hgetall(keys.job(job_id))
        hashes = cast(list[dict[str, str]], pipeline.execute())
    jobs = (read_job(*each) for each in zip(job_ids, hashes, strict=True) if each[1])
    # A job may have ended meanwhile.
    return tuple(job for job in jobs if job.status is Status.RUNNING)
