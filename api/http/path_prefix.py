"""Path prefix under which a reverse proxy serves this API, for the links in its pages.

A proxy that strips `/ai` from each request passes it in `X-Forwarded-Prefix`. Traefik does so by
default, nginx and Caddy if configured. The prefix changes only links, never the path used for
routing or authorization: any client can send the header.
"""

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.errors import answer
from worker.jobs.errors import InvalidRequestError

HEADER = "x-forwarded-prefix"
_DOCS = frozenset({"/docs", "/openapi.json"})
_PREFIX = re.compile(r"(?:/[\w.~-]+)*/?", re.ASCII)


def path_prefix(headers: Headers) -> str:
    """Returns the prefix without a trailing slash, or '' if there is none. Raises
    InvalidRequestError.

    >>> path_prefix(Headers({"X-Forwarded-Prefix": "/team/ai/"})), path_prefix(Headers({}))
    ('/team/ai', '')
    """
    prefix = headers.get(HEADER, "").strip()
    if not _PREFIX.fullmatch(prefix):
        raise InvalidRequestError(
            f"X-Forwarded-Prefix: found {prefix!r}; expected one path such as /ai, as the proxy in "
            "front of this server is configured to send"
        )
    return prefix.rstrip("/")


class DocsPrefix:
    """Adds the prefix to the links of /docs and to `servers` of the OpenAPI document, which FastAPI
    derives from `root_path`. Other paths are unchanged, because `root_path` also affects
    routing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in _DOCS:
            await self._app(scope, receive, send)
            return
        try:
            prefix = path_prefix(Headers(scope=scope))
        except InvalidRequestError as error:
            await answer(error)(scope, receive, send)
            return
        await self._app({**scope, "root_path": prefix}, receive, send)
