"""A worker's end of the queue when Redis fails at an acknowledgement."""

import pytest
from kombu.transport.redis import QoS
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.jobs.store import keys
from worker.jobs.store.notify import JobNotifier, celery_app


@pytest.mark.parametrize("end", ["ack", "reject"])
def test_a_message_that_redis_did_not_acknowledge_does_not_block_the_next_one(
    redis_url: SecretStr, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    notifier = JobNotifier(redis_url)
    app = celery_app("test", redis_url, socket_timeout_seconds=2)
    with app.connection_for_read() as connection, connection.channel() as channel:
        channel.basic_qos(0, 1, False)
        queue = app.amqp.queues[keys.QUEUE].bind(channel)
        queue.declare()
        for job_id in ("ftjob-1", "ftjob-2"):
            assert notifier.notify(job_id)
        first = queue.get()
        assert first is not None
        assert not channel.qos.can_consume()

        def is_away(*_: object) -> None:
            raise RedisConnectionError("Connection closed by server.")

        with monkeypatch.context() as patched:
            patched.setattr(QoS, "_remove_from_indices", is_away)
            with pytest.raises(RedisConnectionError):
                getattr(first, end)()
        assert channel.qos.can_consume()
        second = queue.get()
        assert second is not None
        second.ack()
        assert channel.qos.can_consume()
    notifier.close()
