"""Address of the API for clients on the same machine."""

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def local_url(host: str, port: int) -> str:
    """
    >>> local_url("0.0.0.0", 8000), local_url("::1", 8000)
    ('http://127.0.0.1:8000', 'http://[::1]:8000')
    """
    reachable = _ANY.get(host, host)
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"
