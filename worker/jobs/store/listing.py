"""Paginated lists of jobs, the index of fine-tuned models, and deletion of both in the store.

A list has all jobs, the jobs of one owner, or those with a metadata pair. Each list is a sorted set
of ids by job number. The cost of a page does not depend on its length.

`DeletedJobs` deletes ended jobs, their models and their checkpoints. `ModelIndex` maps models to
the jobs that made them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from redis import Redis

from worker.jobs.errors import InUseError, InvalidRequestError, NotEndedError, NotFoundError
from worker.jobs.events import Page
from worker.jobs.job import Job, model_id
from worker.jobs.store import keys
from worker.jobs.store.redis import Scripts, translate_redis_errors
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


class DeletedJobs:
    """The deletions. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._scripts = scripts

    def delete(self, job: Job) -> None:
        """Removes everything the store has of a job, and lists its id in `forgotten`.

        Raises NotFoundError, NotEndedError, and InUseError if a job that has not ended starts
        from its model or from one of its checkpoints.
        """
        args = (job.id, model_id(job.id, job.spec), 0, 0)
        _check(self._scripts.run_durably("delete_job", *args), job.id, "job")

    def delete_old(self, job: Job, *, min_age_seconds: float) -> bool:
        """As `delete`, for a job that failed or was cancelled at least `min_age_seconds` ago and
        that no other job needs. Otherwise changes nothing and returns False."""
        args = (job.id, model_id(job.id, job.spec), int(min_age_seconds * 1000), 0)
        return bool(self._scripts.run_durably("delete_job", *args)[0] == "deleted")

    def force_delete(self, job_id: str, *, model: str) -> bool:
        """As `delete`, for a deleted job, in any state, that a rolled-back store has again. Returns
        True if it was there."""
        return bool(self._scripts.run("delete_job", job_id, model, 0, 1)[0] == "deleted")

    def delete_model(self, job: Job, *, message: str) -> None:
        """Removes the final model of a job from the store, and records an event.

        Raises NotFoundError, and InUseError if a job that has not ended starts from it.
        """
        model = model_id(job.id, job.spec)
        _check(self._scripts.run_durably("delete_model", job.id, model, message, 0), job.id, model)

    def force_delete_model(self, job_id: str, *, model: str) -> bool:
        """As `delete_model`, for a deleted model that a rolled-back store has again."""
        message = f"Model {model} was deleted before"
        return bool(self._scripts.run("delete_model", job_id, model, message, 1)[0] == "deleted")

    def claim_checkpoint(self, job: Job, step: int) -> None:
        """Lists the checkpoint in `forgotten`; its files may then be removed.

        Raises NotFoundError, NotEndedError, and InUseError if a job that has not ended starts
        from it.
        """
        args = (job.id, model_id(job.id, job.spec), step)
        answer = self._scripts.run_durably("claim_checkpoint", *args)
        _check(answer, job.id, model_id(job.id, job.spec, step=step))

    def delete_checkpoint(self, job_id: str, step: int, *, message: str) -> bool:
        """Removes a checkpoint from the job's list, and records `message` as an event. Returns True
        if it was listed."""
        return bool(self._scripts.run("delete_checkpoint", job_id, step, message))

    def unfinished(self) -> tuple[str, ...]:
        """Returns the deletions whose files may still exist, as `<job id>`, `<job id>/model` or
        `<job id>/checkpoint-<step>`."""
        with translate_redis_errors():
            ids = cast(set[str], self._redis.smembers(keys.FORGOTTEN))
        return tuple(sorted(ids))

    def is_unfinished(self, deletion: str) -> bool:
        with translate_redis_errors():
            return bool(self._redis.sismember(keys.FORGOTTEN, deletion))

    def mark_files_deleted(self, deletion: str) -> None:
        with translate_redis_errors():
            self._redis.srem(keys.FORGOTTEN, deletion)

    def users_of_file(self, file_id: str) -> tuple[str, ...]:
        """Returns the ids of the jobs that have not ended and use the file."""
        return tuple(self._scripts.run("file_users", file_id))

    def delete_checkpoints(self, job_id: str, *, min_age_seconds: float, reason: str) -> bool:
        """Empties the job's list of checkpoints, and records `reason` in an event. Changes nothing
        and returns False unless the job ended at least `min_age_seconds` ago."""
        args = (job_id, int(min_age_seconds * 1000), f"Checkpoints removed: {reason}")
        return bool(self._scripts.run("delete_checkpoints", *args))


def _check(answer: Sequence[str], job_id: str, what: str) -> None:
    """Raises the error for any answer except `deleted`."""
    verdict, *rest = answer
    if verdict == "missing":
        raise NotFoundError(
            f"no job {job_id!r}" if what == "job" else f"no fine-tuned model {what!r}"
        )
    if verdict == "not_ended":
        raise NotEndedError(job_id, rest[0])
    if verdict == "in_use":
        raise InUseError(f"job {job_id}" if what == "job" else f"model {what}", tuple(rest))
    assert verdict == "deleted", f"found {verdict!r}"


class ModelIndex:
    """The index, written by the steps of jobs. Every method raises StoreUnavailableError when Redis
    does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def all(self) -> dict[str, str]:
        """Returns all entries: fine-tuned model id -> job id."""
        with translate_redis_errors():
            return cast(dict[str, str], self._redis.hgetall(keys.MODELS))

    def job_of(self, model: str) -> str:
        """Returns the id of the job that made a fine-tuned model. Raises NotFoundError."""
        return self._job_in(keys.MODELS, model)

    def job_of_name(self, model: str) -> str:
        """As `job_of`, also for a job that has not ended or did not succeed, because it may have
        checkpoints."""
        return self._job_in(keys.NAMES, model)

    def add(self, model: str, job_id: str) -> None:
        """Restores an entry that the store has lost."""
        with translate_redis_errors():
            self._redis.hset(keys.MODELS, model, job_id)

    def _job_in(self, key: str, model: str) -> str:
        with translate_redis_errors():
            job_id = cast(str | None, self._redis.hget(key, model))
        if job_id is None:
            raise no_fine_tuned(model)
        return job_id


def no_fine_tuned(model: str) -> NotFoundError:
    """Returns the error for a model that is missing, or hidden from the caller."""
    return NotFoundError(f"no fine-tuned model {model!r}")
