"""Middleware that counts and times every request, including rejected ones."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics

_NO_ROUTE = "none"
"""Route label for requests that reached no route: unknown paths, and callers without a key."""


class RequestMeter:
    """Outermost middleware, so it also sees the responses to internal errors."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
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
