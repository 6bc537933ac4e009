"""The queue of wake-up messages (doorbells): one Celery task whose only argument is a job id.

A message is only a hint that a job is pending. It may be lost or duplicated: the claim in the store
decides, and the controller sends it again.
"""

import logging
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import redis as redis_transport
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError

from worker.jobs.redis_address import RedisAddress
from worker.jobs.store import keys
from worker.jobs.store.redis import CONNECTION_CLASSES, translate_redis_errors

TASK = "flant5.run_job"

logger = logging.getLogger(__name__)


class _QoS(redis_transport.QoS):
    """Frees the slot of a message also if Redis fails at its acknowledgement or rejection.

    kombu 5.7 keeps it occupied. With a prefetch count of 1, the worker would receive no further
    message until its restart. Redis delivers the message again after its visibility timeout.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except (RedisError, OSError):
            self._quick_ack(delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]
        except (RedisError, OSError):
            self._quick_ack(delivery_tag)
            raise


class _Channel(redis_transport.Channel):
    """Connects with the arguments of all other Redis clients, instead of those that kombu parses
    from a URL."""

    QoS = _QoS

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        arguments = self.connection.client.transport_options["connection_arguments"]
        self.connection_class = arguments["connection_class"]
        theirs = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        kept = {name: theirs[name] for name in ("connection_class", "max_connections")}
        return {**arguments, **kept}


class _Transport(redis_transport.Transport):
    Channel = _Channel


def celery_app(name: str, redis_url: SecretStr, *, socket_timeout_seconds: float) -> Celery:
    """Returns an app with the settings that senders and receivers of wake-up messages share.

    It does not connect yet. All of Celery's keys carry our prefix: other services and other users
    of Celery may share the server, and an ACL needs only one pattern.
    """
    address = RedisAddress.parse(redis_url.get_secret_value())
    app = Celery(name, broker=address.broker_url, set_as_current=False)
    app.conf.update(_settings(address, socket_timeout_seconds=socket_timeout_seconds))
    return app


def _settings(address: RedisAddress, *, socket_timeout_seconds: float) -> dict[str, object]:
    arguments = {
        "health_check_interval": 10,
        "connection_class": CONNECTION_CLASSES[address.kind],
    } | address.arguments(timeout_seconds=socket_timeout_seconds)
    return {
        "broker_transport": _Transport,
        "task_default_queue": keys.QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "broker_transport_options": {
            "connection_arguments": arguments,
            "global_keyprefix": keys.PREFIX,
        },
    }


def num_notifications(redis: Redis) -> int:
    """Returns the number of wake-up messages that no worker has received yet. Raises
    StoreUnavailableError."""
    with translate_redis_errors():
        return redis.llen(keys.NOTIFICATIONS)


class JobNotifier:
    """Wakes up a worker for a queued job."""

    def __init__(self, redis_url: SecretStr) -> None:
        self._celery = celery_app("flant5-doorbell", redis_url, socket_timeout_seconds=2)
        # Without these kombu retries for 6 s, even with `retry=False`.
        self._celery.conf.broker_transport_options |= {"max_retries": 1, "interval_start": 0}

    def notify(self, job_id: str) -> bool:
        """Sends a wake-up message. Returns False if the queue is unreachable; the controller sends
        it again."""
        try:
            self._celery.send_task(TASK, (job_id,), queue=keys.QUEUE, retry=False)
        except OperationalError as error:
            logger.warning("job %s: cannot send the wake-up message: %s", job_id, error)
            return False
        return True

    def close(self) -> None:
        self._celery.close()
