"""Client of the serving processes: submits chat requests and reads answers as they are
generated."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import cast

from anyio import CancelScope
from fastapi.concurrency import run_in_threadpool
from redis import Redis

from api.http.errors import ChatTimeoutError, NoServerError, ServerLostError
from api.settings import ApiSettings
from flant5_train.protocol.inference import AnswerFinished, ChatPrompt, Refused, StreamEvent
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.store import keys
from worker.jobs.store.inference import (
    REQUEST_TTL_SECONDS,
    Claimed,
    InferenceQueue,
    InferenceWorkers,
    read_answer_entry,
)
from worker.jobs.store.redis import open_async_redis, translate_redis_errors

_BLOCK_MS = 1000
_CHECK_SECONDS = REQUEST_TTL_SECONDS / 3
_MAX_MISSES = 3
"""Consecutive checks that may find a request neither waiting nor taken. It is briefly in
between."""
_TIMEOUT_SECONDS = 5.0
_MAX_CONNECTIONS = 64
"""Answers read concurrently, each on its own connection. Further ones take turns."""
_POOL_TIMEOUT_SECONDS = 30.0

StreamEvents = AsyncGenerator[StreamEvent | None]

_log = logging.getLogger(__name__)


class InferenceClient:
    """Client of the serving processes. Used in one event loop."""

    def __init__(self, redis: Redis, settings: ApiSettings) -> None:
        self._settings = settings
        self._queue = InferenceQueue(redis)
        self._workers = InferenceWorkers(redis)
        self._redis = open_async_redis(
            settings.redis_url,
            timeout_seconds=_TIMEOUT_SECONDS,
            max_connections=_MAX_CONNECTIONS,
            patience_seconds=_POOL_TIMEOUT_SECONDS,
        )

    async def close(self) -> None:
        await self._redis.aclose()

    async def ask(self, prompt: ChatPrompt) -> StreamEvents:
        """Yields the pieces of the answer. The last one is Finished or Refused. Yields None
        periodically while there is no new piece. Closing the generator cancels the request.

        Raises NoServerError, ServerLostError, ChatTimeoutError, ChatLimitError, and
        StoreUnavailableError.
        """
        if not await run_in_threadpool(self._workers.all):
            raise NoServerError
        submit = partial(self._queue.submit, max_waiting=self._settings.max_waiting_chats)
        chat_id = await run_in_threadpool(submit, prompt)
        try:
            async for piece in self._answer(chat_id):
                yield piece
        finally:
            with CancelScope(shield=True):
                await run_in_threadpool(self._cancel, chat_id)

    async def _answer(self, chat_id: str) -> AsyncIterator[StreamEvent | None]:
        cursor, server, num_misses = "0-0", None, 0
        clock = asyncio.get_running_loop().time
        ends_at, check_at = clock() + self._settings.chat_timeout_seconds, clock() + _CHECK_SECONDS
        while True:
            entries = await self._entries(chat_id, after=cursor)
            for entry_id, entry in entries:
                cursor = entry_id
                if isinstance(entry, Claimed):
                    server = entry.server
                    continue
                yield entry
                if isinstance(entry, AnswerFinished | Refused):
                    return
            if clock() > ends_at:
                raise ChatTimeoutError(
                    f"the answer was not complete within {self._settings.chat_timeout_seconds:g} "
                    "s; "
                    "limit its length with max_completion_tokens"
                )
            if not entries:
                yield None
            if not entries or clock() > check_at:
                is_seen = await run_in_threadpool(self._check, chat_id, server)
                num_misses = 0 if is_seen else num_misses + 1
                if num_misses == _MAX_MISSES:
                    raise ServerLostError("the serving process ended when it took the request")
                check_at = clock() + _CHECK_SECONDS

    async def _entries(
        self, chat_id: str, *, after: str
    ) -> list[tuple[str, Claimed | StreamEvent]]:
        """Returns the entries after `after`. Waits briefly for the first one."""
        with translate_redis_errors():
            answer = await self._redis.xread({keys.answer(chat_id): after}, block=_BLOCK_MS)
        streams = cast(list[tuple[str, list[tuple[str, dict[str, str]]]]], answer)
        return [
            (entry_id, read_answer_entry(fields))
            for _, entries in streams
            for entry_id, fields in entries
        ]

    def _check(self, chat_id: str, server: str | None) -> bool:
        """Renews the request and returns whether it is waiting or taken. Raises NoServerError or
        ServerLostError if no serving process can answer it."""
        self._queue.renew(chat_id)
        here = self._workers.all()
        if server is not None:
            if server not in here:
                raise ServerLostError("the serving process ended before the answer was complete")
            return True
        if not here:
            raise NoServerError
        return self._queue.is_waiting(chat_id)

    def _cancel(self, chat_id: str) -> None:
        try:
            self._queue.cancel(chat_id)
        except StoreUnavailableError as error:
            # It expires by itself a little later.
            _log.warning("chat %s: cannot cancel: %s", chat_id, error)
