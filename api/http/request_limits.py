"""Protection against requests that another site's page makes a browser send."""

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

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
        message = lured(Headers(scope=scope), has_keys=self._has_keys)
        return None if message is None else ForbiddenError(message)


def lured(headers: Headers, *, has_keys: bool) -> str | None:
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
