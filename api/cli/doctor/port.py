"""Checks that the API's port is free or served by the API."""

import socket
from typing import Any

import httpx

from api.cli.address import local_url
from api.cli.doctor.finding import Finding, failed, fine

_PATIENCE_SECONDS = 5.0


def check_port(host: str, port: int) -> Finding:
    """Queries the API on the port. If nothing listens, tries to bind the port."""
    url = local_url(host, port)
    try:
        alive = _get(f"{url}/healthz")
    except httpx.ConnectError:
        return _bound(host, port)
    except httpx.TransportError as error:
        return _taken(port, f"does not use HTTP ({type(error).__name__})")
    if _document(alive).get("status") != "ok":
        return _taken(port, f"returns {alive.status_code} for /healthz")
    try:
        ready = _get(f"{url}/readyz")
    except httpx.TransportError as error:
        found = f"the API at {url} is alive, but /readyz does not respond: {error}"
        return _not_ready(found)
    if ready.is_success:
        return fine(f"the API at {url} is ready")
    message = (_document(ready).get("error") or {}).get("message", ready.reason_phrase)
    return _not_ready(f"the API at {url} is not ready: {message}")


def _bound(host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return failed(
            f"can't listen on {host}, port {port}: {error.strerror}",
            expected="an address of this machine and a free port above 1023",
            remedy="set FLANT5_HOST and FLANT5_PORT",
        )
    return fine(f"port {port} of {host} is free")


def _taken(port: int, how: str) -> Finding:
    return failed(
        f"port {port} is used by another program, which {how}",
        expected="a free port, or the API of flant5",
        remedy=f"find it with `sudo ss -ltnp 'sport = :{port}'`, or set FLANT5_PORT",
    )


def _not_ready(found: str) -> Finding:
    return failed(
        found,
        expected="a Redis that the API can reach and write to",
        remedy="docker compose logs redis api, or logs/ in HOME of `flant5 up`",
    )


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=_PATIENCE_SECONDS, trust_env=False)


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
