"""The inference queue and its servers, and the conversations of the dashboard's chat page.

Questions go from the API to a serving process, and the answers back:

| key (prefix `flant5:`)    | type   | content                                                    |
|---------------------------|--------|------------------------------------------------------------|
| chats                     | list   | ids of pending questions, the next one first               |
| chat:{id}                 | string | the question as JSON; expires after 15 s unless the client |
|                           |        | that waits for it renews it                                |
| chat:{id}:answer          | stream | `server` (the process that took it), then each `piece` as  |
|                           |        | JSON; expires 10 min after the last one                    |
| chat_servers              | zset   | serving processes by the time they count as gone, in ms    |
| chat_server:{name}:device | string | device of its models: `cpu`, `cuda:1`; expires with the    |
|                           |        | entry of the process                                       |
| talk:{owner}:{id}         | string | a conversation as JSON; expires 7 days after its last      |
|                           |        | message                                                    |
| talks                     | zset   | their keys by the time of the last message, in ms          |

`flant5_train.protocol.inference` defines questions, pieces and their order. A question is taken
once. If its serving process dies, the answer is lost and the client has to ask again. Conversations
of the chat page survive reloads and restarts of the API.
"""

import re
import secrets
import string
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import ValidationError
from redis import Redis

from flant5_train.protocol.inference import ChatPrompt, StreamEvent, parse_event
from worker.jobs.errors import ChatLimitError
from worker.jobs.store import keys
from worker.jobs.store.redis import translate_redis_errors

REQUEST_TTL_SECONDS = 15
ANSWER_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Claimed:
    """A serving process has taken a question."""

    server: str


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A question taken from the queue."""

    id: str
    prompt: ChatPrompt


class InferenceQueue:
    """The queue. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def submit(self, prompt: ChatPrompt, *, max_waiting: int) -> str:
        """Enqueues a question and returns its id. Raises ChatLimitError when more than
        `max_waiting` are pending."""
        chat_id = _new_chat_id()
        with translate_redis_errors(), self._redis.pipeline() as pipeline:
            pipeline.set(keys.chat(chat_id), prompt.model_dump_json(), ex=REQUEST_TTL_SECONDS)
            pipeline.rpush(keys.CHATS, chat_id)
            _, num_waiting = pipeline.execute()
        if num_waiting > max_waiting:
            self.cancel(chat_id)
            raise ChatLimitError(
                f"The inference queue is full ({max_waiting} pending requests, the limit). Retry "
                "later."
            )
        return chat_id

    def renew(self, chat_id: str) -> None:
        """Renews a question whose client still waits."""
        with translate_redis_errors():
            self._redis.expire(keys.chat(chat_id), REQUEST_TTL_SECONDS)

    def cancel(self, chat_id: str) -> None:
        """Removes a question whose client has the answer or has gone."""
        with translate_redis_errors(), self._redis.pipeline() as pipeline:
            pipeline.delete(keys.chat(chat_id), keys.answer(chat_id))
            pipeline.lrem(keys.CHATS, 1, chat_id)
            pipeline.execute()

    def is_waiting(self, chat_id: str) -> bool:
        """Returns True until a serving process takes the question."""
        with translate_redis_errors():
            return self._redis.lpos(keys.CHATS, chat_id) is not None

    def claim(
        self, limit: int, *, server: str, wait_seconds: float
    ) -> tuple[InferenceRequest, ...]:
        """Takes up to `limit` pending questions for `server`. Waits up to `wait_seconds` for the
        first one."""
        ids = []
        with translate_redis_errors():
            if wait_seconds:
                popped = self._redis.blpop([keys.CHATS], timeout=wait_seconds)
                ids = [] if popped is None else [cast(tuple[str, str], popped)[1]]
            if len(ids) < limit and (ids or not wait_seconds):
                ids += cast(list[str], self._redis.lpop(keys.CHATS, limit - len(ids)) or [])
            if not ids:
                return ()
            with self._redis.pipeline(transaction=False) as pipeline:
                for chat_id in ids:
                    pipeline.xadd(keys.answer(chat_id), {"server": server})
                    pipeline.expire(keys.answer(chat_id), ANSWER_SECONDS)
                    pipeline.get(keys.chat(chat_id))
                questions = pipeline.execute()[2::3]
        return tuple(
            InferenceRequest(chat_id, ChatPrompt.model_validate_json(question))
            for chat_id, question in zip(ids, questions, strict=True)
            if question is not None
        )

    def append(self, pieces: Iterable[StreamEvent]) -> None:
        """Appends pieces to their answers."""
        with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipeline:
            for piece in pieces:
                pipeline.xadd(keys.answer(piece.id), {"piece": piece.model_dump_json()})
                pipeline.expire(keys.answer(piece.id), ANSWER_SECONDS)
            pipeline.execute()

    def active(self, chat_ids: Collection[str]) -> frozenset[str]:
        """Returns the ids whose clients still wait."""
        with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipeline:
            for chat_id in chat_ids:
                pipeline.exists(keys.chat(chat_id))
            found = pipeline.execute()
        return frozenset(
            chat_id for chat_id, is_here in zip(chat_ids, found, strict=True) if is_here
        )


def read_answer_entry(fields: Mapping[str, str]) -> Claimed | StreamEvent:
    """Parses an entry of an answer's stream. Raises ValueError for a malformed one."""
    if server := fields.get("server"):
        return Claimed(server)
    try:
        return parse_event(fields.get("piece", ""))
    except ValidationError as error:
        raise ValueError(f"found the entry {dict(fields)} in an answer: {error}") from error


def _new_chat_id() -> str:
    alphabet = string.ascii_letters + string.digits
    return "chatcmpl-" + "".join(secrets.choice(alphabet) for _ in range(24))


PRESENCE_SECONDS = 10.0
"""Time without a heartbeat after which a serving process counts as gone."""


class InferenceWorkers:
    """The registry. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def register(self, server: str, *, device: str = "") -> None:
        """Registers a serving process, or renews it: it expires after PRESENCE_SECONDS. `device`
        holds its models."""
        with translate_redis_errors():
            now = self._now()
            with self._redis.pipeline() as pipeline:
                pipeline.zadd(keys.CHAT_SERVERS, {server: now + PRESENCE_SECONDS * 1000})
                pipeline.set(keys.chat_device(server), device, px=int(PRESENCE_SECONDS * 1000))
                pipeline.zremrangebyscore(keys.CHAT_SERVERS, 0, now - 1)
                pipeline.execute()

    def deregister(self, server: str) -> None:
        with translate_redis_errors():
            self._redis.zrem(keys.CHAT_SERVERS, server)
            self._redis.delete(keys.chat_device(server))

    def all(self) -> frozenset[str]:
        """Returns the names of the live serving processes."""
        with translate_redis_errors():
            found = self._redis.zrangebyscore(keys.CHAT_SERVERS, self._now(), "+inf")
        return frozenset(cast(list[str], found))

    def devices(self) -> dict[str, str]:
        """Returns the device of each live serving process by name; "" if it reports none."""
        servers = sorted(self.all())
        if not servers:
            return {}
        with translate_redis_errors():
            found = self._redis.mget([keys.chat_device(server) for server in servers])
        devices = (device or "" for device in cast(list[str | None], found))
        return dict(zip(servers, devices, strict=True))

    def _now(self) -> int:
        """Returns the Redis server's clock, in ms: the clocks of hosts differ."""
        seconds, microseconds = self._redis.time()
        return seconds * 1000 + microseconds // 1000


def new_worker_name(name: str) -> str:
    """Returns a name for this run of a serving process. After a restart it has another name, and
    its unfinished answers are lost."""
    return f"{name}:{secrets.token_hex(4)}"


KEEP_SECONDS = 7 * 24 * 3600
MAX_CONVERSATIONS = 200
"""Maximum number of conversations of all owners; the least recently used are removed first."""

_ID = re.compile(r"[\w-]{1,64}", re.ASCII)


class ConversationStore:
    """The conversations. Every method raises StoreUnavailableError when Redis fails or is full."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def get(self, owner: str, talk_id: str) -> str | None:
        """Returns a conversation; None for a missing one and for another owner's."""
        if not _ID.fullmatch(talk_id):
            return None
        with translate_redis_errors():
            return cast(str | None, self._redis.get(keys.conversation(owner, talk_id)))

    def keep(self, owner: str, talk_id: str, content: str) -> None:
        """Saves a conversation in place of its previous content."""
        assert _ID.fullmatch(talk_id), talk_id
        key = keys.conversation(owner, talk_id)
        with translate_redis_errors():
            seconds, microseconds = self._redis.time()
            now = seconds * 1000 + microseconds // 1000
            with self._redis.pipeline() as pipeline:
                pipeline.set(key, content, ex=KEEP_SECONDS)
                pipeline.zadd(keys.CONVERSATIONS, {key: now})
                pipeline.zremrangebyscore(keys.CONVERSATIONS, 0, now - KEEP_SECONDS * 1000)
                pipeline.zrange(keys.CONVERSATIONS, 0, -MAX_CONVERSATIONS - 1)
                *_, oldest = pipeline.execute()
            if oldest:
                with self._redis.pipeline() as pipeline:
                    pipeline.delete(*oldest)
                    pipeline.zrem(keys.CONVERSATIONS, *oldest)
                    pipeline.execute()
