"""A serving process in the test's own process, which answers as it is told to."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from flant5_train.protocol.inference import (
    AnswerFinished,
    AnswerStarted,
    RefusalKind,
    Refused,
    StreamEvent,
    TextDelta,
)
from worker.jobs.store.inference import (
    InferenceQueue,
    InferenceRequest,
    InferenceWorkers,
    new_worker_name,
)
from worker.jobs.store.redis import open_redis

Answering = Callable[[InferenceRequest], Iterable[StreamEvent]]


def echo(chat: InferenceRequest) -> Iterable[StreamEvent]:
    """The last message, word by word."""
    yield AnswerStarted(id=chat.id, prompt_tokens=11, truncated_tokens=2)
    words = chat.prompt.turns[-1].content.split(" ")
    for number, word in enumerate(words):
        yield TextDelta(id=chat.id, text=word if number == 0 else f" {word}")
    yield AnswerFinished(id=chat.id, reason="stop", completion_tokens=len(words))


def never(chat: InferenceRequest) -> Iterable[StreamEvent]:
    """Begins, and says nothing."""
    yield AnswerStarted(id=chat.id, prompt_tokens=1, truncated_tokens=0)


def refusing(kind: RefusalKind, *, after: int = 0) -> Answering:
    """Refuses, after so many pieces of the answer."""

    def answer(chat: InferenceRequest) -> Iterable[StreamEvent]:
        yield from list(echo(chat))[:after]
        yield Refused(id=chat.id, kind=kind, message="that's why", param="messages")

    return answer


class Server:
    """Answers until the context is left; then it is gone, without a word."""

    def __init__(self, redis_url: SecretStr, answering: Answering) -> None:
        self.name = new_worker_name("test")
        self.chats: list[InferenceRequest] = []
        self._redis_url = redis_url
        self._answering = answering
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._is_here = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_here.wait(timeout=60)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        self._is_over.set()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with open_redis(self._redis_url) as redis:
            queue, workers = InferenceQueue(redis), InferenceWorkers(redis)
            while not self._is_over.is_set():
                workers.register(self.name)
                self._is_here.set()
                for chat in queue.claim(8, server=self.name, wait_seconds=0.05):
                    self.chats.append(chat)
                    for piece in self._answering(chat):
                        queue.append([piece])
            workers.deregister(self.name)
