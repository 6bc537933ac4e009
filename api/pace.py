"""Minimum transfer rate of request bodies."""

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_BYTES_PER_SECOND = 4096


class SlowBodyError(HTTPException):
    """Raised while a body is read. FastAPI lets only an HTTPException pass there."""

    def __init__(self, *, num_bytes: int) -> None:
        super().__init__(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the body arrived too slowly: {num_bytes} bytes so far; expected "
            f"{MIN_BYTES_PER_SECOND} bytes per second",
            headers={"connection": "close", "x-should-retry": "true"},
        )


class BodyPace:
    """Ends a request whose body arrives too slowly. The limit is `patience_seconds` plus 1 s per 4
    KiB received. Without this, a body of one byte every few seconds would hold its connection and
    its partial file forever."""

    def __init__(self, app: ASGIApp, *, patience_seconds: float) -> None:
        self._app = app
        self._patience_seconds = patience_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._patience_seconds)

        async def send_and_note(message: Message) -> None:
            body.is_answered = True
            await send(message)

        await self._app(scope, body.receive, send_and_note)


class _Body:
    """Progress of one body, and the time spent waiting for it."""

    def __init__(self, receive: Receive, patience_seconds: float) -> None:
        self._receive = receive
        self._patience_seconds = patience_seconds
        self._waited_seconds = 0.0
        self._num_bytes = 0
        self._is_whole = False
        self.is_answered = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        try:
            async with asyncio.timeout(self._patience_left()):
                message = await self._receive()
        except TimeoutError as error:
            if self.is_answered:
                return {"type": "http.disconnect"}
            raise SlowBodyError(num_bytes=self._num_bytes) from error
        self._waited_seconds += loop.time() - began_at
        self._num_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        return message

    def _patience_left(self) -> float:
        earned = self._num_bytes / MIN_BYTES_PER_SECOND
        return max(0.0, self._patience_seconds + earned - self._waited_seconds)
