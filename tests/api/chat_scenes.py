"""A serving process in the test's own process, which answers as it is told to."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from flant5_train.protocol.inference import Delta, Finished, Piece, RefusalKind, Refused, Started
from worker.jobs.store.inference import Chat, ChatQueue, ChatServers, new_server
from worker.jobs.store.redis import open_redis

Answering = Callable[[Chat], Iterable[Piece]]


def echo(chat: Chat) -> Iterable[Piece]:
    """The last message, word by word."""
    yield Started(id=chat.id, prompt_tokens=11, truncated_tokens=2)
    words = chat.question.turns[-1].content.split(" ")
    for number, word in enumerate(words):
        yield Delta(id=chat.id, text=word if number == 0 else f" {word}")
    yield Finished(id=chat.id, reason="stop", completion_tokens=len(words))


def never(chat: Chat) -> Iterable[Piece]:
    """Begins, and says nothing."""
    yield Started(id=chat.id, prompt_tokens=1, truncated_tokens=0)


def refusing(kind: RefusalKind, *, after: int = 0) -> Answering:
    """Refuses, after so many pieces of the answer."""

    def answer(chat: Chat) -> Iterable[Piece]:
        yield from list(echo(chat))[:after]
        yield Refused(id=chat.id, kind=kind, message="that's why", param="messages")

    return answer


class Server:
    """Answers until the context is left; then it is gone, without a word."""

    def __init__(self, redis_url: SecretStr, answering: Answering) -> None:
        self.name = new_server("test")
        self.chats: list[Chat] = []
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
            queue, servers = ChatQueue(redis), ChatServers(redis)
            while not self._is_over.is_set():
                servers.appear(self.name)
                self._is_here.set()
                for chat in queue.take(8, server=self.name, wait_seconds=0.05):
                    self.chats.append(chat)
                    for piece in self._answering(chat):
                        queue.tell([piece])
            servers.leave(self.name)
