"""Index of the fine-tuned models and the jobs that made them."""

from typing import cast

from redis import Redis

from worker.jobs.errors import NotFoundError
from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable


class ModelIndex:
    """The index, written by the steps of jobs. Every method raises StoreUnavailableError when Redis
    does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def all(self) -> dict[str, str]:
        """Returns all entries: fine-tuned model id -> job id."""
        with unavailable():
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
        with unavailable():
            self._redis.hset(keys.MODELS, model, job_id)

    def _job_in(self, key: str, model: str) -> str:
        with unavailable():
            job_id = cast(str | None, self._redis.hget(key, model))
        if job_id is None:
            raise no_fine_tuned(model)
        return job_id


def no_fine_tuned(model: str) -> NotFoundError:
    """Returns the error for a model that is missing, or hidden from the caller."""
    return NotFoundError(f"no fine-tuned model {model!r}")
