"""Requests that no client of ours sends, and an attacker's page would."""

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import ForbiddenError, answer
from worker.jobs.errors import InvalidRequestError

_KEY = re.compile(rb"f5-[\w%-]{40,}", re.ASCII)
_GUARDED = ("/v1", "/metrics")


class RequestChecks:
    """Refuses what comes from another site's page, and keys in a query string.

    A browser sends a form to any address that it is told to, without asking: on a server that
    wants no keys, any page could submit jobs. One whose name an attacker turns to 127.0.0.1 could
    read them as well, so that a server without keys answers to no name with a dot in it.
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
                "found an API key in the query string, where every log on the way keeps it: revoke "
                "it; expected `Authorization: Bearer <key>`"
            )
        message = lured(Headers(scope=scope), has_keys=self._has_keys)
        return None if message is None else ForbiddenError(message)


def lured(headers: Headers, *, has_keys: bool) -> str | None:
    """Why a request is not its sender's own wish but that of a page of another site; None for all
    others."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if origin is not None and not _is_same_host(origin, host):
        return (
            f"found a request from a page of {origin!r} with the Host {host!r}; expected the same "
            "host and port in both, or no Origin. If that page is this server's, the reverse proxy "
            "in between changes Host: pass it on unchanged (nginx: `proxy_set_header Host "
            "$http_host;`)"
        )
    if not has_keys and not _is_local(host):
        return (
            f"found the host {host!r}; a server without API keys is reached by its address, or "
            "by a name without a dot"
        )
    return None


_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def _is_same_host(origin: str, host: str) -> bool:
    """A proxy may add the port of the scheme to Host, which a browser leaves out of Origin.

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
