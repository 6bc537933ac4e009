"""Paginated lists of jobs: of all jobs, of one owner, or with a metadata pair.

Each list is a sorted set of ids by job number. The cost of a page does not depend on its length.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from redis import Redis

from worker.jobs.errors import InvalidRequestError
from worker.jobs.events import Page
from worker.jobs.job import Job
from worker.jobs.store import keys
from worker.jobs.store.serialization import read_job

_BATCH = 1000
"""Ids checked per round trip when a job must be on several lists."""


def list_jobs(
    redis: Redis, index: str, *, after: str | None, limit: int, metadata: Mapping[str, str]
) -> Page[Job]:
    """Returns jobs of a list that have all `metadata` pairs, newest first. New jobs do not shift
    the pages, because each job keeps its number."""
    below = _number_of(redis, index, after)
    tagged = [keys.jobs_tagged(*pair) for pair in metadata.items()]
    # Every job with a pair is on the list of all jobs too.
    lists = tagged if tagged and index == keys.JOBS else [index, *tagged]
    found: list[Job] = []
    for ids in _batches(redis, lists, below=below, size=limit + 1):
        while ids and (num_missing := limit + 1 - len(found)) > 0:
            found += _read(redis, ids[:num_missing])
            ids = ids[num_missing:]
        if len(found) > limit:
            break
    return Page(items=tuple(found[:limit]), has_more=len(found) > limit)


def _number_of(redis: Redis, index: str, job_id: str | None) -> str:
    if job_id is None:
        return "+inf"
    number = redis.zscore(index, job_id)
    if number is None:
        raise InvalidRequestError(f"no job {job_id!r}; expected the id of a job", param="after")
    return f"({number:.0f}"


def _batches(redis: Redis, lists: Sequence[str], *, below: str, size: int) -> Iterator[list[str]]:
    """Yields the ids that are on all lists: reads the shortest and looks its ids up in the
    others."""
    first, *others = _shortest_first(redis, lists)
    while True:
        rows = redis.zrevrangebyscore(first, below, "-inf", start=0, num=size, withscores=True)
        entries = cast(list[tuple[str, float]], rows)
        yield _on_all(redis, others, [job_id for job_id, _ in entries])
        if len(entries) < size:
            return
        below, size = f"({entries[-1][1]:.0f}", _BATCH


def _shortest_first(redis: Redis, lists: Sequence[str]) -> list[str]:
    if len(lists) == 1:
        return [*lists]
    with redis.pipeline(transaction=False) as pipeline:
        for each in lists:
            pipeline.zcard(each)
        lengths = cast(list[int], pipeline.execute())
    return [each for _, each in sorted(zip(lengths, lists, strict=True))]


def _on_all(redis: Redis, lists: Sequence[str], job_ids: list[str]) -> list[str]:
    for each in lists:
        if job_ids:
            numbers = redis.zmscore(each, job_ids)
            job_ids = [
                job_id
                for job_id, number in zip(job_ids, numbers, strict=True)
                if number is not None
            ]
    return job_ids


def _read(redis: Redis, job_ids: Sequence[str]) -> list[Job]:
    """Reads the jobs that still exist: one may be deleted at any moment."""
    with redis.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.hgetall(keys.job(job_id))
        hashes = cast(list[dict[str, str]], pipeline.execute())
    return [
        read_job(job_id, fields) for job_id, fields in zip(job_ids, hashes, strict=True) if fields
    ]
