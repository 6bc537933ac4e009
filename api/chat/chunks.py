"""Streamed chat completions: server-sent events, one for each piece of text.

data: {"id":"chatcmpl-...","object":"chat.completion.chunk", ... "delta":{"content":"Hello"} ...}

data: [DONE]
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from api.chat.client import Pieces
from api.chat.errors import error_of
from api.frames import HEARTBEAT
from api.http.errors import answer
from api.schemas.chat import CreateChatCompletion
from api.schemas.chat_completion import ChatChunk, Usage
from flant5_train.protocol.inference import Delta, Finished, Refused, Started

DONE = b"data: [DONE]\n\n"

_log = logging.getLogger(__name__)


class ChunkWriter:
    """Writes the chunks of one answer that has `started`."""

    def __init__(
        self, body: CreateChatCompletion, started: Started, *, heartbeat_seconds: float
    ) -> None:
        self._body = body
        self._started = started
        self._created = int(time.time())
        self._heartbeat_seconds = heartbeat_seconds

    async def frames(self, pieces: Pieces) -> AsyncIterator[bytes]:
        """Yields all events. An interrupted answer ends with its error, because the HTTP status was
        already sent."""
        try:
            async with aclosing(pieces):
                async for frame in self._frames(pieces):
                    yield frame
        except Exception as error:  # noqa: BLE001 - the client gets every error
            _log.warning("chat %s: stream ended early: %r", self._started.id, error)
            yield b"data: " + bytes(answer(error).body) + b"\n\n"

    async def _frames(self, pieces: Pieces) -> AsyncIterator[bytes]:
        """Yields the role, the text piece by piece, the finish reason, the usage if requested, and
        [DONE]. After a long silence, yields a comment."""
        yield self._event(role="assistant", content="")
        sent_at = time.monotonic()
        async for piece in pieces:
            if isinstance(piece, Refused):
                raise error_of(piece)
            if isinstance(piece, Delta):
                yield self._event(content=piece.text)
            elif isinstance(piece, Finished):
                yield self._end(piece)
            elif time.monotonic() - sent_at > self._heartbeat_seconds:
                yield HEARTBEAT
            else:
                continue
            sent_at = time.monotonic()

    def _end(self, finished: Finished) -> bytes:
        end = self._event(finish_reason=finished.reason)
        if self._body.shows_usage:
            end += self._event(usage=Usage.of(self._started, finished))
        return end + DONE

    def _event(self, *, usage: Usage | None = None, **choice: str) -> bytes:
        chunk = ChatChunk.of(
            choice,
            id=self._started.id,
            created=self._created,
            model=self._body.model,
            usage=usage,
        )
        # ASCII: many clients also split lines at U+2028 and similar, which JSON does not escape.
        return f"data: {chunk.model_dump_json(ensure_ascii=True)}\n\n".encode()
