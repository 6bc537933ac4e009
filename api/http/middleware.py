"""Middleware of all requests: ids, authentication, body limits, metrics and security headers.

`MetricsMiddleware` counts and times every request, including rejected ones. `SecurityHeaders`
restricts the use that browsers make of a response.
"""

import asyncio
import logging
import re
import secrets
import time
from contextlib import suppress

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import ANYONE, KeyRing, refusal
from api.http.errors import BodyTooLargeError, ForbiddenError, UnauthorizedError, answer
from api.http.request_limits import SlowBodyError
from api.metrics import ApiMetrics
from worker.jobs.logging import about
from worker.jobs.storage.upload import MAX_PART_BYTES

_REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_GUARDED = ("/v1", "/metrics")
_MULTIPART_BYTES = 2**16
"""Allowance for the multipart form around an uploaded file."""
_DISCARDED_BYTES = 2**26
_DISCARDED_SECONDS = 5.0
_MAX_SHOWN = 1000

_log = logging.getLogger(__name__)


class RequestContextMiddleware:
    """Outer frame of every request. It sets the request id, the arrival time, and an anonymous
    caller until a key identifies one. It adds the id to the response, turns internal errors into
    responses, and logs a line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {}).update(
            arrived_at=time.time(), caller=ANYONE, request_id=request_id
        )
        with about(request_id=request_id):
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope["state"]["request_id"]
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            _log.exception("%s %s failed (%s)", scope["method"], _shown(scope), request_id)
            if status:
                # The response has begun: only closing the connection can signal the failure.
                raise
            await answer(error)(scope, receive, send_with_id)
        level = logging.DEBUG if scope["path"] in _PROBES else logging.INFO
        _log.log(level, "%s %s %d (%s)", scope["method"], _shown(scope), status, request_id)


class AuthMiddleware:
    """API key authentication: rejects requests to /v1 and /metrics without a suitable key, and sets
    the caller."""

    def __init__(self, app: ASGIApp, *, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_GUARDED):
            await self._app(scope, receive, send)
            return
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        caller = self._keys.caller_of(key.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            found = "no API key" if not key else "an invalid or expired API key"
            error = UnauthorizedError(f"found {found}; expected `Authorization: Bearer <key>`")
            await _refuse(answer(error), scope, receive, send)
            return
        if message := refusal(caller, scope["method"], scope["path"]):
            await _refuse(answer(ForbiddenError(message)), scope, receive, send)
            return
        scope["state"]["caller"] = caller
        await self._app(scope, receive, send)


class BodyLimit:
    """Ends requests whose body exceeds the limit of their path."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_file_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_form_bytes = (
            (re.compile(r"/v1/files/?|/upload"), max_file_bytes + _MULTIPART_BYTES),
            (re.compile(r"/v1/uploads/[^/]+/parts/?"), MAX_PART_BYTES + _MULTIPART_BYTES),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = self._max_bytes(scope["path"])
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > max_bytes:
            await _refuse(answer(BodyTooLargeError(max_bytes)), scope, receive, send)
            return
        num_bytes = 0

        async def receive_limited() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > max_bytes:
                raise BodyTooLargeError(max_bytes)
            return message

        await self._app(scope, receive_limited, send)

    def _max_bytes(self, path: str) -> int:
        for form, max_bytes in self._max_form_bytes:
            if form.fullmatch(path):
                return max_bytes
        return self._max_body_bytes


async def _refuse(response: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends a response without reading the body, but first discards some of it. If the connection
    closes while the client still sends, the response may be lost."""
    num_bytes, has_more = 0, True
    with suppress(TimeoutError, SlowBodyError):
        async with asyncio.timeout(_DISCARDED_SECONDS):
            while has_more and num_bytes < _DISCARDED_BYTES:
                message = await receive()
                num_bytes += len(message.get("body", b""))
                has_more = message.get("more_body", False)
    await response(scope, receive, send)


def _request_id(scope: Scope) -> str:
    """Returns the caller's request id, which links its log to ours, or a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def _shown(scope: Scope) -> str:
    """Returns the path, escaped if necessary to fit in one log line."""
    path: str = scope["path"][:_MAX_SHOWN]
    return path if path.isprintable() else ascii(path)


_NO_ROUTE = "none"
"""Route label for requests that reached no route: unknown paths, and callers without a key."""


class MetricsMiddleware:
    """Outermost middleware, so it also sees the responses to internal errors."""

    def __init__(self, app: ASGIApp, *, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived_at = time.monotonic()

        async def send_counted(message: Message) -> None:
            # Timed at the start of the response: a live stream may end hours later.
            if message["type"] == "http.response.start":
                self._metrics.count_request(
                    scope["method"],
                    route=path_template(scope),
                    status=message["status"],
                    seconds=time.monotonic() - arrived_at,
                )
            await send(message)

        await self._app(scope, receive, send_counted)


def path_template(scope: Scope) -> str:
    """Returns the route template of a request, such as `/v1/files/{file_id}`.

    The route's own path is `/files/{file_id}`. FastAPI stores the prefix of the included router
    separately.
    """
    included = scope.get("fastapi", {}).get("effective_route_context")
    path: str = getattr(included or scope.get("route"), "path", _NO_ROUTE)
    return path


EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_DATA = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_PAGES = "frame-ancestors 'none'; object-src 'none'; base-uri 'self'; form-action 'self'"
"""The dashboard and /docs need inline scripts and styles."""


class SecurityHeaders:
    """Adds security headers to every response. Responses under /v1 are data: browsers must not run
    or cache them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_data = scope["path"].startswith("/v1")

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in EVERYWHERE.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", _DATA if is_data else _PAGES)
                if is_data:
                    headers["cache-control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_guarded)
