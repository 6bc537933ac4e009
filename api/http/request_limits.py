"""Rejects cross-site requests and slow request bodies.

A page of another site can make a browser send requests to this server. A body that arrives below
the minimum transfer rate would hold its connection and its partial file forever.
"""

import asyncio
import ipaddress
import re
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.errors import ForbiddenError, answer
from worker.jobs.errors import InvalidRequestError

_KEY = re.compile(rb"f5-[\w%-]{40,}", re.ASCII)
_GUARDED = ("/v1", "/metrics")


class RequestChecks:
    """Rejects cross-site requests, and API keys in a query string.

    A browser submits a form to any address without asking. On a server without keys, any page could
    submit jobs. With DNS rebinding to 127.0.0.1, an attacker's page could also read them. A server
    without keys therefore rejects host names that contain a dot.
    """

    def __init__(self, app: ASGIApp, *, has_keys: bool) -> None:
        self._app = app
        self._has_keys = has_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._error(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
            return
        await answer(error)(scope, receive, send)

    def _error(self, scope: Scope) -> Exception | None:
        if not scope["path"].startswith(_GUARDED):
            return None
        if _KEY.search(scope["query_string"]):
            return InvalidRequestError(
                "found an API key in the query string, where proxies and servers log it: revoke "
                "this key; expected `Authorization: Bearer <key>`"
            )
        message = is_cross_site(Headers(scope=scope), has_keys=self._has_keys)
        return None if message is None else ForbiddenError(message)


def is_cross_site(headers: Headers, *, has_keys: bool) -> str | None:
    """Returns an error message for a request that a page of another site triggered. None for all
    others."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if origin is not None and not _is_same_host(origin, host):
        return (
            f"found a request from a page of {origin!r} with the Host {host!r}; expected the same "
            "host and port in both, or no Origin. If the page belongs to this server, the reverse "
            "proxy changes Host: pass it on unchanged (nginx: `proxy_set_header Host $http_host;`)"
        )
    if not has_keys and not _is_local(host):
        return (
            f"found the host {host!r}; without API keys, use the server's IP address or a name "
            "without a dot"
        )
    return None


_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def _is_same_host(origin: str, host: str) -> bool:
    """Compares hosts, ignoring default ports. A proxy may add the scheme's port to Host, but
    browsers omit it from Origin.

    >>> _is_same_host("https://gpu", "GPU:443"), _is_same_host("http://gpu:8443", "gpu")
    (True, False)
    """
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    port = _DEFAULT_PORTS.get(parts.scheme, "")
    found = parts.netloc.removesuffix(port)
    return bool(found) and found.casefold() == host.removesuffix(port).casefold()


def _is_local(host: str) -> bool:
    """
    >>> [_is_local(host) for host in ("127.0.0.1:8000", "[::1]:8000", "gpu-1", "evil.test:8000")]
    [True, True, True, False]
    """
    name = host.rpartition("]")[0].lstrip("[") or host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name
    return True


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


class SlowBodyTimeout:
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
