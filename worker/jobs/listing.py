"""Pages of the list of all jobs."""

import json
from collections.abc import Iterator, Mapping
from typing import cast

from redis import Redis

from worker.jobs import keys
from worker.jobs.errors import InvalidRequestError
from worker.jobs.events import Page
from worker.jobs.job import Job
from worker.jobs.records import read_job

_BATCH = 100


def list_jobs(
    redis: Redis, index: str, *, after: str | None, limit: int, metadata: Mapping[str, str]
) -> Page[Job]:
    """Jobs of an index of ids by number, newest first; jobs created meanwhile shift nothing,
    because each job keeps its number."""
    wanted = metadata.items()
    found: list[Job] = []
    for job_id, fields in _newest_first(redis, index, below=_number_of(redis, index, after)):
        if wanted <= json.loads(fields["metadata"]).items():
            if len(found) == limit:
                return Page(items=tuple(found), has_more=True)
            found.append(read_job(job_id, fields))
    return Page(items=tuple(found), has_more=False)


def _number_of(redis: Redis, index: str, job_id: str | None) -> str:
    if job_id is None:
        return "+inf"
    number = redis.zscore(index, job_id)
    if number is None:
        raise InvalidRequestError(f"no job {job_id!r} to list after", param="after")
    return f"({number:.0f}"


def _newest_first(redis: Redis, index: str, *, below: str) -> Iterator[tuple[str, dict[str, str]]]:
    while True:
        rows = redis.zrevrangebyscore(index, below, "-inf", start=0, num=_BATCH, withscores=True)
        entries = cast(list[tuple[str, float]], rows)
        with redis.pipeline(transaction=False) as pipeline:
            for job_id, _ in entries:
                pipeline.hgetall(keys.job(job_id))
            hashes = pipeline.execute()
        yield from ((job_id, fields) for (job_id, _), fields in zip(entries, hashes, strict=True))
        if len(entries) < _BATCH:
            return
        below = f"({entries[-1][1]:.0f}"
