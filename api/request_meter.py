"""Counts and times every request, refused ones too."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics

_NO_ROUTE = "none"
"""The label of whatever no route took: an unknown path, or a caller without a key."""


class RequestMeter:
    """The outermost middleware, so that it sees the answers to our own failures too."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived_at = time.monotonic()

        async def send_counted(message: Message) -> None:
            # The beginning of the answer, for a live stream's end may be hours away.
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
    """What the router found for the request: `/v1/files/{file_id}`.

    The route alone says `/files/{file_id}`; FastAPI keeps the prefix it was included under beside
    it.
    """
    included = scope.get("fastapi", {}).get("effective_route_context")
    path: str = getattr(included or scope.get("route"), "path", _NO_ROUTE)
    return path
