"""Deletion of ended jobs, their models and their checkpoints in the store."""

from collections.abc import Sequence
from typing import cast

from redis import Redis

from worker.jobs.errors import InUseError, NotEndedError, NotFoundError
from worker.jobs.job import Job, model_id
from worker.jobs.scripts import Scripts
from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable


class EndedJobs:
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
        _check(self._scripts.run_durably("forget", *args), job.id, "job")

    def forget(self, job: Job, *, min_age_seconds: float) -> bool:
        """As `delete`, for a job that failed or was cancelled at least `min_age_seconds` ago and
        that no other job needs. Otherwise changes nothing and returns False."""
        args = (job.id, model_id(job.id, job.spec), int(min_age_seconds * 1000), 0)
        return bool(self._scripts.run_durably("forget", *args)[0] == "deleted")

    def forget_by_force(self, job_id: str, *, model: str) -> bool:
        """As `delete`, for a deleted job, in any state, that a rolled-back store has again. Returns
        True if it was there."""
        return bool(self._scripts.run("forget", job_id, model, 0, 1)[0] == "deleted")

    def delete_model(self, job: Job, *, message: str) -> None:
        """Removes the final model of a job from the store, and records an event.

        Raises NotFoundError, and InUseError if a job that has not ended starts from it.
        """
        model = model_id(job.id, job.spec)
        _check(self._scripts.run_durably("forget_model", job.id, model, message, 0), job.id, model)

    def forget_model_by_force(self, job_id: str, *, model: str) -> bool:
        """As `delete_model`, for a deleted model that a rolled-back store has again."""
        message = f"Model {model} was deleted before"
        return bool(self._scripts.run("forget_model", job_id, model, message, 1)[0] == "deleted")

    def claim_checkpoint(self, job: Job, step: int) -> None:
        """Lists the checkpoint in `forgotten`; its files may then be removed.

        Raises NotFoundError, NotEndedError, and InUseError if a job that has not ended starts
        from it.
        """
        args = (job.id, model_id(job.id, job.spec), step)
        answer = self._scripts.run_durably("claim_checkpoint", *args)
        _check(answer, job.id, model_id(job.id, job.spec, step=step))

    def forget_checkpoint(self, job_id: str, step: int, *, message: str) -> bool:
        """Removes a checkpoint from the job's list, and records `message` as an event. Returns True
        if it was listed."""
        return bool(self._scripts.run("forget_checkpoint", job_id, step, message))

    def forgotten(self) -> tuple[str, ...]:
        """Returns the deletions whose files may still exist, as `<job id>`, `<job id>/model` or
        `<job id>/checkpoint-<step>`."""
        with unavailable():
            ids = cast(set[str], self._redis.smembers(keys.FORGOTTEN))
        return tuple(sorted(ids))

    def is_forgotten(self, deletion: str) -> bool:
        with unavailable():
            return bool(self._redis.sismember(keys.FORGOTTEN, deletion))

    def files_are_gone(self, deletion: str) -> None:
        with unavailable():
            self._redis.srem(keys.FORGOTTEN, deletion)

    def users_of_file(self, file_id: str) -> tuple[str, ...]:
        """Returns the ids of the jobs that have not ended and use the file."""
        return tuple(self._scripts.run("file_users", file_id))

    def forget_checkpoints(self, job_id: str, *, min_age_seconds: float, reason: str) -> bool:
        """Empties the job's list of checkpoints, and records `reason` in an event. Changes nothing
        and returns False unless the job ended at least `min_age_seconds` ago."""
        args = (job_id, int(min_age_seconds * 1000), f"Checkpoints removed: {reason}")
        return bool(self._scripts.run("forget_checkpoints", *args))


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
