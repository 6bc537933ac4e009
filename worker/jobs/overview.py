"""Figures of the whole service at one moment, at a cost that does not grow with ended jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.job import Job
from worker.jobs.life import Status
from worker.jobs.records import read_job
from worker.jobs.workers import WorkerState, workers_here

_INDEXES = {
    Status.VALIDATING_FILES: keys.VALIDATING,
    Status.QUEUED: keys.QUEUED,
    Status.RUNNING: keys.RUNNING,
}
_VERDICTS = ("accepted", "rejected")


@dataclass(frozen=True, slots=True)
class Overview:
    """What is going on."""

    num_jobs: Mapping[Status, int]
    longest_wait_seconds: float
    """How long the job that has waited longest is in the queue by now; 0 when none waits."""
    num_checks: Mapping[str, int]
    """File checks that ended, by verdict, since the store began."""
    running: tuple[Job, ...]
    workers: tuple[WorkerState, ...]


def look(redis: Redis) -> Overview:
    """Raises StoreUnavailableError."""
    with unavailable(), redis.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.hgetall(keys.COUNTS)
        for index in _INDEXES.values():
            pipeline.zcard(index)
        pipeline.zrange(keys.WAITING_SINCE, 0, 0, withscores=True)
        pipeline.zrange(keys.RUNNING, 0, -1)
        (seconds, microseconds), counts, *sizes, oldest, running_ids = pipeline.execute()
    now = seconds + microseconds / 1e6
    # An index is what its jobs are found by, so its size is right even where counting began late.
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
    # One that ended meanwhile does not run any more.
    return tuple(job for job in jobs if job.status is Status.RUNNING)
