"""HTTP clients configured by the environment's proxies and certificates.

httpx reads these variables while it builds a client. For an unusable value it raises `ValueError`,
`InvalidURL`, `OSError` or `ImportError` without naming the variable (httpx 0.28.1). The service
builds all its clients here, where the error names it.
"""

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.request import proxy_bypass

import httpx

from worker.jobs.settings import network_environment

REJECTED = (httpx.HTTPError, httpx.InvalidURL, ValueError)
"""All errors that httpx raises for a failed request. ValueError: the host name of a proxy can't be
encoded, which shows only when the connection is opened."""

_ClientT = TypeVar("_ClientT", httpx.Client, httpx.AsyncClient)


class NetworkSettingsError(ValueError):
    """An environment variable has an unusable value; the message names the variable."""


def open_client(**options: Any) -> httpx.Client:
    """Returns `httpx.Client(**options)`. Raises NetworkSettingsError."""
    return _build(httpx.Client, options)


def open_async_client(**options: Any) -> httpx.AsyncClient:
    """Returns `httpx.AsyncClient(**options)`. Raises NetworkSettingsError."""
    return _build(httpx.AsyncClient, options)


def proxy_for(url: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Returns the proxy for requests to `url`: its variable and its address without credentials.
    None if they need no proxy.

    >>> proxy_for("http://gpu:8000/v1", {"HTTP_PROXY": "http://me:secret@proxy:3128"})
    'HTTP_PROXY (http://proxy:3128)'
    """
    variables = network_environment() if environment is None else environment
    target = httpx.URL(url)
    if proxy_bypass(target.host):
        return None
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if value := variables.get(variable):
                return f"{variable} ({httpx.Proxy(_with_scheme(value)).url})"
    return None


def through_proxy(url: str) -> str:
    """Returns ` through the proxy in NAME (ADDRESS)` for messages about a request to `url`; '' if
    it needs no proxy."""
    try:
        proxy = proxy_for(url)
    except (ValueError, httpx.InvalidURL):
        return ""
    return f" through the proxy in {proxy}" if proxy else ""


def _build(factory: Callable[..., _ClientT], options: Mapping[str, Any]) -> _ClientT:
    try:
        return factory(**options)
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        problem = _find_problem(network_environment())
        if problem is None:
            raise
        raise NetworkSettingsError(problem) from error


def _find_problem(environment: Mapping[str, str]) -> str | None:
    """Returns an error message about the first variable that httpx rejects."""
    for name, value in environment.items():
        check, expected = _CHECKS[name.lower()]
        try:
            check(value)
        except (ValueError, OSError, httpx.InvalidURL) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            shown = _without_credentials(value)
            return f"{name} is {shown!r}, which can't be used ({reason}); expected {expected}"
    return None


def _check_proxy(value: str) -> None:
    httpx.Proxy(_with_scheme(value))


def _check_no_proxy(value: str) -> None:
    for entry in filter(None, map(str.strip, value.split(","))):
        if not _is_address(entry):
            httpx.URL(entry if "://" in entry else f"all://*{entry}")


def _check_file(value: str) -> None:
    ssl.create_default_context(cafile=value)


def _check_directory(value: str) -> None:
    ssl.create_default_context(capath=value)


def _check_key_log(_: str) -> None:
    ssl.create_default_context()  # opens the file in SSLKEYLOGFILE


_PROXY = "the address of a proxy such as http://proxy:3128 or socks5://proxy:1080"
_CHECKS: Mapping[str, tuple[Callable[[str], None], str]] = {
    "http_proxy": (_check_proxy, _PROXY),
    "https_proxy": (_check_proxy, _PROXY),
    "all_proxy": (_check_proxy, _PROXY),
    "no_proxy": (
        _check_no_proxy,
        "host names and addresses with commas between them; IPv6 addresses without brackets or "
        "a prefix length, such as ::1",
    ),
    "ssl_cert_file": (_check_file, "a file of CA certificates in PEM"),
    "ssl_cert_dir": (_check_directory, "a directory of CA certificates"),
    "sslkeylogfile": (_check_key_log, "a file that can be written, or the variable unset"),
}


def _with_scheme(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


def _without_credentials(value: str) -> str:
    """
    >>> _without_credentials("socks4://me:secret@proxy")
    'socks4://***@proxy'
    """
    scheme, separator, rest = value.rpartition("://")
    _, at, host = rest.rpartition("@")
    return f"{scheme}{separator}***@{host}" if at else value


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
