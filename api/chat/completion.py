"""Chat completions in the SDK's form: one object, or a stream of server-sent events.

A stream has an event for each piece of text, and ends with `[DONE]`:

    data: {"id":"chatcmpl-...","object":"chat.completion.chunk", ... "delta":{"content":"Hi"} ...}

    data: [DONE]
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

from api.chat.client import StreamEvents
from api.dependencies import Services
from api.http.errors import ClientGoneError, answer, error_of
from api.schemas.chat import CreateChatCompletion
from api.schemas.chat_completion import ChatChunk, ChatCompletion, Usage
from api.streaming.broadcast import HEARTBEAT
from api.streaming.sse import HEADERS, MEDIA_TYPE
from flant5_train.protocol.inference import AnswerFinished, AnswerStarted, Refused, TextDelta

DONE = b"data: [DONE]\n\n"

_log = logging.getLogger(__name__)


class ChunkWriter:
    """Writes the chunks of one answer that has `started`."""

    def __init__(
        self, body: CreateChatCompletion, started: AnswerStarted, *, keepalive_seconds: float
    ) -> None:
        self._body = body
        self._started = started
        self._created = int(time.time())
        self._keepalive_seconds = keepalive_seconds

    async def frames(self, pieces: StreamEvents) -> AsyncIterator[bytes]:
        """Yields all events. An interrupted answer ends with its error, because the HTTP status was
        already sent."""
        try:
            async with aclosing(pieces):
                async for frame in self._frames(pieces):
                    yield frame
        except Exception as error:  # noqa: BLE001 - the client gets every error
            _log.warning("chat %s: stream ended early: %r", self._started.id, error)
            yield b"data: " + bytes(answer(error).body) + b"\n\n"

    async def _frames(self, pieces: StreamEvents) -> AsyncIterator[bytes]:
        """Yields the role, the text piece by piece, the finish reason, the usage if requested, and
        [DONE]. After a long silence, yields a comment."""
        yield self._event(role="assistant", content="")
        sent_at = time.monotonic()
        async for piece in pieces:
            if isinstance(piece, Refused):
                raise error_of(piece)
            if isinstance(piece, TextDelta):
                yield self._event(content=piece.text)
            elif isinstance(piece, AnswerFinished):
                yield self._end(piece)
            elif time.monotonic() - sent_at > self._keepalive_seconds:
                yield HEARTBEAT
            else:
                continue
            sent_at = time.monotonic()

    def _end(self, finished: AnswerFinished) -> bytes:
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


Result = TypeVar("Result")


async def complete(
    body: CreateChatCompletion, *, services: Services, request: Request
) -> ChatCompletion:
    """Returns the complete answer. Raises ClientGoneError if the client disconnects."""
    async with aclosing(services.chats.ask(body.question())) as pieces:
        return await _while_connected(request, _gathered(pieces, body.model))


async def stream(
    body: CreateChatCompletion, *, services: Services, request: Request
) -> StreamingResponse:
    """Returns the answer as a stream once it has begun. Errors before that still set the HTTP
    status."""
    pieces = services.chats.ask(body.question())
    try:
        started = await _while_connected(request, _started(pieces))
    except BaseException:
        await pieces.aclose()
        raise
    writer = ChunkWriter(body, started, keepalive_seconds=services.settings.sse_keepalive_seconds)
    return StreamingResponse(writer.frames(pieces), media_type=MEDIA_TYPE, headers=HEADERS)


async def _started(pieces: StreamEvents) -> AnswerStarted:
    async for piece in pieces:
        if isinstance(piece, Refused):
            raise error_of(piece)
        if isinstance(piece, AnswerStarted):
            return piece
    raise AssertionError("an answer has a beginning")


async def _gathered(pieces: StreamEvents, model: str) -> ChatCompletion:
    started, texts = await _started(pieces), []
    async for piece in pieces:
        if isinstance(piece, Refused):
            raise error_of(piece)
        if isinstance(piece, TextDelta):
            texts.append(piece.text)
        elif isinstance(piece, AnswerFinished):
            usage = Usage.of(started, piece)
            return ChatCompletion.of("".join(texts), model=model, usage=usage, end=piece)
    raise AssertionError("an answer has an end")


async def _while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """Returns the result of the work. Cancels the work if the client disconnects."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError("the client disconnected")
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
