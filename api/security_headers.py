"""Response headers that restrict what browsers do with a response."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
