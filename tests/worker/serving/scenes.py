"""A question on its way, and what became of it."""

from dataclasses import dataclass
from typing import Any

from redis import Redis

from flant5_train.protocol.inference import (
    AnswerFinished,
    AskedTurn,
    ChatPrompt,
    Refused,
    StreamEvent,
    TextDelta,
)
from tests.worker.scenes import wait_until
from worker.jobs.store import keys
from worker.jobs.store.inference import Claimed, InferenceQueue, read_answer_entry


def question(text: str, *, model: str = "my-t5") -> ChatPrompt:
    return ChatPrompt(model=model, turns=(AskedTurn(role="user", content=text),))


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who asks."""

    redis: Redis

    @property
    def queue(self) -> InferenceQueue:
        return InferenceQueue(self.redis)

    def ask(self, text: str, *, model: str = "my-t5") -> str:
        return self.queue.submit(question(text, model=model), max_waiting=100)

    def entries(self, chat_id: str) -> list[Claimed | StreamEvent]:
        entries: Any = self.redis.xrange(keys.answer(chat_id))
        return [read_answer_entry(fields) for _, fields in entries]

    def end(self, chat_id: str) -> AnswerFinished | Refused | None:
        """How the answer ended."""
        last = self.entries(chat_id)[-1:]
        return last[0] if last and isinstance(last[0], AnswerFinished | Refused) else None

    def wait_for_end(self, chat_id: str) -> AnswerFinished | Refused:
        wait_until(lambda: self.end(chat_id), seconds=60, what="the end of the answer")
        end = self.end(chat_id)
        assert end is not None
        return end

    def text(self, chat_id: str) -> str:
        return "".join(each.text for each in self.entries(chat_id) if isinstance(each, TextDelta))
