"""The queue of doorbells: one Celery task whose only argument is a job id.

A message is a hint that a job is waiting, nothing more. It may be lost or come twice: the claim
in the store decides, and the keeper rings again.
"""

import logging

from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import SecretStr
from redis import Redis

from worker.jobs.connection import unavailable

TASK = "flant5.run_job"
QUEUE = "flant5"

logger = logging.getLogger(__name__)


def producer_settings(*, socket_timeout_seconds: float) -> dict[str, object]:
    """The Celery settings that whoever sends or takes doorbells needs alike."""
    return {
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "broker_transport_options": {
            "socket_timeout": socket_timeout_seconds,
            "socket_connect_timeout": socket_timeout_seconds,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    }


def num_doorbells(redis: Redis) -> int:
    """Doorbells that no worker has taken yet. Raises StoreUnavailableError."""
    with unavailable():
        return redis.llen(QUEUE)


class Doorbell:
    """Tells the workers that a job is waiting."""

    def __init__(self, redis_url: SecretStr) -> None:
        self._celery = Celery(
            "flant5-doorbell", broker=redis_url.get_secret_value(), set_as_current=False
        )
        self._celery.conf.update(producer_settings(socket_timeout_seconds=2))
        # Without these kombu tries for 6 s, `retry=False` or not.
        self._celery.conf.broker_transport_options |= {"max_retries": 1, "interval_start": 0}

    def ring(self, job_id: str) -> bool:
        """False when the queue could not be reached: no harm, the keeper rings again."""
        try:
            self._celery.send_task(TASK, (job_id,), queue=QUEUE, retry=False)
        except OperationalError as error:
            logger.warning("doorbell of job %s not rung: %s", job_id, error)
            return False
        return True

    def close(self) -> None:
        self._celery.close()
