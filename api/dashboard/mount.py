"""Routes dashboard requests, checks the session, and imports NiceGUI on first use.

Importing NiceGUI takes half a second and 30 MB. An API without browser requests does not pay this.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from api.dashboard.ui.auth import COOKIE, Sessions, SessionUser
from api.dependencies import Services
from api.http.errors import ForbiddenError, UnauthorizedError, answer
from api.http.path_prefix import HEADER, path_prefix
from api.http.request_limits import is_cross_site
from worker.jobs.errors import InvalidRequestError

UPLOAD_PATH = "/upload"

_PATHS = re.compile(
    r"/|/(?:login|logout|upload|new|compare|files|models|chat|favicon\.ico)"
    r"|/(?:jobs|download|dashboard|_nicegui|_nicegui_ws)/.*"
)
_OPEN_PATHS = re.compile(
    r"/login|/logout|/favicon\.ico|/dashboard/.*"
    # Static files. Paths of a single client are for NiceGUI uploads, which we don't use.
    r"|/_nicegui/(?!client/).*"
)


class LazyDashboard(Mount):
    """Matches the dashboard's paths. All others, unknown API paths included, go to the API."""

    def __init__(self, services: Services, sessions: Sessions) -> None:
        self.door = _AuthGate(services, sessions)
        super().__init__("", app=self.door, name="dashboard")

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if not _PATHS.fullmatch(scope.get("path", "")) or _wants_data(scope):
            return Match.NONE, {}
        match, child = super().matches(scope)
        return match, {**child, "route": _Label()}


def _wants_data(scope: Scope) -> bool:
    """Returns True for a request of an SDK whose base URL lacks /v1.

    An SDK would treat a 200 with a page as an empty list.
    """
    if scope["type"] != "http" or scope["path"].startswith("/_nicegui"):
        return False
    accept = Headers(scope=scope).get("accept", "")
    return "application/json" in accept and "text/html" not in accept


class _Label:
    """Route label for request metrics: one for all pages."""

    path = "/"


class _AuthGate:
    def __init__(self, services: Services, sessions: Sessions) -> None:
        self._services = services
        self._sessions = sessions
        self._loading = asyncio.Lock()
        self._site: ASGIApp | None = None
        self._running = AsyncExitStack()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keeps the pages running while the context is open."""
        async with self._running:
            yield
        self._site = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        token = HTTPConnection(scope).cookies.get(COOKIE)
        try:
            prefix = path_prefix(headers)
        except InvalidRequestError as error:
            is_socket = scope["type"] == "websocket"
            await (WebSocketClose(1008) if is_socket else answer(error))(scope, receive, send)
            return
        refusal = self._refusal(scope, headers, token=token, prefix=prefix)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        site = await self._loaded()
        user = SessionUser(self._services, self._sessions, token, prefix)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Without a referrer, browsers send `Origin: null` for our own forms, which then
                # look cross-site.
                MutableHeaders(scope=message)["referrer-policy"] = "same-origin"
            await send(message)

        state: dict[str, Any] = scope.get("state", {}) | {"visitor": user}
        # Copied because the pages' router writes into it and the request meter reads the original.
        # The header gets the validated prefix, because NiceGUI uses the header as is.
        inner = dict(scope) | {"state": state, "headers": list(scope["headers"])}
        if prefix:
            MutableHeaders(scope=inner)[HEADER] = prefix
        await site(inner, receive, send_named)

    def _refusal(
        self, scope: Scope, headers: Headers, *, token: str | None, prefix: str
    ) -> ASGIApp | None:
        """Returns the response that rejects the request, or None if it may pass."""
        is_socket = scope["type"] == "websocket"
        if message := is_cross_site(headers, has_keys=self._sessions.are_needed):
            return WebSocketClose(1008) if is_socket else answer(ForbiddenError(message))
        path = scope["path"]
        if _OPEN_PATHS.fullmatch(path) or self._sessions.caller_of(token) is not None:
            return None
        if is_socket:
            return WebSocketClose(1008)
        if scope["method"] in ("GET", "HEAD") and not path.startswith("/_nicegui"):
            return _to_login(prefix, path, scope["query_string"].decode("latin-1"))
        return answer(UnauthorizedError("not logged in; log in at /login"))

    async def _loaded(self) -> ASGIApp:
        async with self._loading:
            if self._site is None:
                site = await run_in_threadpool(_load)
                await self._running.enter_async_context(site.router.lifespan_context(site))
                self._site = site
            return self._site


def _load() -> Any:
    from api.dashboard.app import dashboard_app

    return dashboard_app()


def _to_login(prefix: str, path: str, query: str) -> Response:
    target = f"{path}?{query}" if query else path
    return RedirectResponse(f"{prefix}/login?next={quote(target, safe='')}", 303)
