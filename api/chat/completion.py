"""Chat completions in the SDK's form: one object, or a stream of chunks."""

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from typing import TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

from api.chat.chunks import ChunkWriter
from api.chat.client import Pieces
from api.chat.errors import ClientGoneError, error_of
from api.dependencies import Services
from api.schemas.chat import CreateChatCompletion
from api.schemas.chat_completion import ChatCompletion, Usage
from api.streaming.sse import HEADERS, MEDIA_TYPE
from flant5_train.protocol.inference import Delta, Finished, Refused, Started

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
    writer = ChunkWriter(body, started, heartbeat_seconds=services.settings.heartbeat_seconds)
    return StreamingResponse(writer.frames(pieces), media_type=MEDIA_TYPE, headers=HEADERS)


async def _started(pieces: Pieces) -> Started:
    async for piece in pieces:
        if isinstance(piece, Refused):
            raise error_of(piece)
        if isinstance(piece, Started):
            return piece
    raise AssertionError("an answer has a beginning")


async def _gathered(pieces: Pieces, model: str) -> ChatCompletion:
    started, texts = await _started(pieces), []
    async for piece in pieces:
        if isinstance(piece, Refused):
            raise error_of(piece)
        if isinstance(piece, Delta):
            texts.append(piece.text)
        elif isinstance(piece, Finished):
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
