"""Conversations of the dashboard's chat page, which survive reloads and restarts of the API.

| key (prefix `flant5:`)    | type   | content                                                    |
|---------------------------|--------|------------------------------------------------------------|
| talk:{owner}:{id}         | string | a conversation as JSON; expires 7 days after its last      |
|                           |        | message                                                    |
| talks                     | zset   | their keys by the time of the last message, in ms          |
"""

import re
from typing import cast

from redis import Redis

from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable

KEEP_SECONDS = 7 * 24 * 3600
MAX_TALKS = 200
"""Maximum number of conversations of all owners; the least recently used are removed first."""

_ID = re.compile(r"[\w-]{1,64}", re.ASCII)


class TalkStore:
    """The conversations. Every method raises StoreUnavailableError when Redis fails or is full."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def get(self, owner: str, talk_id: str) -> str | None:
        """Returns a conversation; None for a missing one and for another owner's."""
        if not _ID.fullmatch(talk_id):
            return None
        with unavailable():
            return cast(str | None, self._redis.get(keys.talk(owner, talk_id)))

    def keep(self, owner: str, talk_id: str, content: str) -> None:
        """Saves a conversation in place of its previous content."""
        assert _ID.fullmatch(talk_id), talk_id
        key = keys.talk(owner, talk_id)
        with unavailable():
            seconds, microseconds = self._redis.time()
            now = seconds * 1000 + microseconds // 1000
            with self._redis.pipeline() as pipeline:
                pipeline.set(key, content, ex=KEEP_SECONDS)
                pipeline.zadd(keys.TALKS, {key: now})
                pipeline.zremrangebyscore(keys.TALKS, 0, now - KEEP_SECONDS * 1000)
                pipeline.zrange(keys.TALKS, 0, -MAX_TALKS - 1)
                *_, oldest = pipeline.execute()
            if oldest:
                with self._redis.pipeline() as pipeline:
                    pipeline.delete(*oldest)
                    pipeline.zrem(keys.TALKS, *oldest)
                    pipeline.execute()
