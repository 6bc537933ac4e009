"""FLANT5_REDIS_URL, read once: the same arguments for every client of the server.

redis-py and kombu (Celery) read URLs differently: kombu passes `?protocol=3` on as text and fails,
redis-py takes database 0 where the database is no number, and neither knows `valkey://`
(redis-py 8.1, kombu 5.7). So no URL reaches them, only what this module made of it.
"""

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

TCP, TLS, UNIX = "tcp", "tls", "unix"
_KINDS = {"redis": TCP, "valkey": TCP, "rediss": TLS, "valkeys": TLS, "unix": UNIX}
_DEFAULT_PORT = 6379
_MAX_DATABASE = 2**31 - 1

_EXPECTED = "expected redis://, rediss:// (TLS), valkey://, valkeys:// or unix://"
_ENCODE = (
    "percent-encode `/ ? # @ [ ]` in the password, or keep it in FLANT5_REDIS_PASSWORD_FILE; an "
    "IPv6 host stands in brackets, redis://[::1]:6379/0"
)
_OF_THE_SERVICE = {
    "socket_timeout": "the leases of jobs depend on it; set FLANT5_REDIS_TIMEOUT_SECONDS",
    "socket_connect_timeout": "the leases of jobs depend on it; set FLANT5_REDIS_TIMEOUT_SECONDS",
    "virtual_host": "write ?db=N",
    "ssl": "write rediss://",
}
"""Options that a client would take, and the reason why the URL may not set them."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A server and a database of it. Its text has no password."""

    kind: str
    host: str = ""
    port: int = _DEFAULT_PORT
    path: str = ""
    """The socket's, of a unix address."""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of a connection of redis-py."""

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Raises ValueError, in one sentence without the password."""
        # Python's own parser drops line breaks and tabs in silence.
        if not url.isprintable() or url != url.strip():
            raise ValueError(f"the Redis URL has spaces around it, or line breaks; {_EXPECTED}")
        kind = _kind(url)
        try:
            parts = urlsplit(url)
            # Also raises for a port that is no number.
            has_port = parts.port is not None
        except ValueError as error:
            raise ValueError(
                f"the host or port of the Redis URL can't be read; {_ENCODE}"
            ) from error
        if parts.fragment:
            raise ValueError(f"a Redis URL has no part after `#`; {_ENCODE}")
        options = _options(parts.query, kind=kind)
        common: dict[str, Any] = {
            "username": _once("username", parts.username, options.pop("username", None)),
            "password": _once("password", parts.password, options.pop("password", None)),
            "db": _database("" if kind == UNIX else parts.path, options.pop("db", None)),
            "options": options,
        }
        if kind == UNIX:
            return cls(kind, path=_socket_path(parts), **common)
        host = _host(parts)
        return cls(kind, host=host, port=_port(parts, is_given=has_port), **common)

    @property
    def place(self) -> str:
        """Host and port, or the socket's path; for people."""
        if self.kind == UNIX:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it there."""
        if self.kind == UNIX or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def arguments(self, *, timeout_seconds: float) -> dict[str, Any]:
        """Those of a connection of redis-py; its class depends on the client and is not among
        them."""
        arguments = {
            "db": self.db,
            "username": self.username,
            "password": self.password,
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": timeout_seconds,
            **self.options,
        }
        if self.kind == UNIX:
            return arguments | {"path": self.path}
        return {"socket_keepalive": True} | arguments | {"host": self.host, "port": self.port}

    @property
    def broker_url(self) -> str:
        """The address as kombu writes it into its log; it reads nothing else from it."""
        # A scheme with `+` in it would choose another transport than ours.
        place = quote(self.path, safe="") if self.kind == UNIX else self.place
        return f"redis://{place}/{self.db}"


def _kind(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"the Redis URL has no scheme; {_EXPECTED}")
    if "sentinel" in scheme:
        raise ValueError(
            f"{scheme}:// is not supported: flant5 asks no sentinel for the primary; give the "
            "primary's own address, or one that follows it (a proxy, a virtual IP)"
        )
    if "cluster" in scheme:
        raise ValueError(
            f"{scheme}:// is not supported: a step of a job changes several keys at once, which a "
            "cluster refuses; take a server with cluster-enabled no"
        )
    if scheme == "redis+socket":
        raise ValueError("redis+socket:// is Celery's form; write unix:///path/of/socket?db=0")
    if scheme not in _KINDS:
        raise ValueError(f"{scheme[:20]}:// is no scheme of a Redis URL; {_EXPECTED}")
    if "," in rest.rpartition("@")[2] or ";" in rest.rpartition("@")[2]:
        raise ValueError(
            "the Redis URL names several servers; expected one, a primary: flant5 keeps its jobs "
            "in one place and fails over to none by itself"
        )
    return _KINDS[scheme]


def _host(parts: SplitResult) -> str:
    host = unquote(parts.hostname or "")
    if " " in host:
        raise ValueError(f"the host of the Redis URL is {host!r}; expected no spaces")
    if ":" in host:
        try:
            ipaddress.ip_address(host)
        except ValueError as error:
            raise ValueError(f"{host!r} is no host of a Redis URL: {error}") from error
    return host or "localhost"


def _port(parts: SplitResult, *, is_given: bool) -> int:
    server = parts.netloc.rpartition("@")[2]
    if server.count(":") > 1 and "[" not in server:
        raise ValueError(f"the host or port of the Redis URL can't be read; {_ENCODE}")
    if not is_given:
        return _DEFAULT_PORT
    if not parts.port:
        raise ValueError("port 0 is no port of a server; expected 1 to 65535")
    return parts.port


def _socket_path(parts: SplitResult) -> str:
    path = unquote(parts.path)
    if parts.netloc.rpartition("@")[2] or not path.startswith("/") or path == "/":
        raise ValueError(
            "a unix:// URL names a socket by its absolute path, with three slashes: "
            "unix:///run/redis/redis.sock?db=0"
        )
    return path


def _database(path: str, option: int | None) -> int:
    text = unquote(path).strip("/")
    if text and not (text.isascii() and text.isdecimal() and int(text) <= _MAX_DATABASE):
        raise ValueError(
            f"the database of the Redis URL is {text[:20]!r}; expected a number, as in /0"
        )
    if text and option is not None and int(text) != option:
        raise ValueError(
            f"the Redis URL names two databases, /{text} and ?db={option}; expected one"
        )
    return option if option is not None else int(text or 0)


def _once(name: str, of_address: str | None, of_options: str | None) -> str | None:
    if of_address and of_options is not None:
        raise ValueError(f"the Redis URL has a {name} before the host and one in ?{name}=")
    return of_options if of_options is not None else unquote(of_address or "") or None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > _MAX_DATABASE:
        raise ValueError("a number")
    return int(text)


def _flag(text: str) -> bool:
    flags = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in flags:
        raise ValueError("true or false")
    return flags[text.lower()]


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(allowed))
        return text

    return read


def _protocol(text: str) -> int:
    return int(_one_of("2", "3")(text))


def _readable(text: str) -> str:
    if not os.access(text, os.R_OK):
        raise ValueError("a path that this user can read")
    return text


_READERS: dict[str, Callable[[str], Any]] = {
    "db": _number,
    "username": str,
    "password": str,
    "protocol": _protocol,
    "health_check_interval": _number,
    "client_name": str,
}
_TCP_READERS: dict[str, Callable[[str], Any]] = {"socket_keepalive": _flag}
_TLS_READERS: dict[str, Callable[[str], Any]] = {
    "ssl_ca_certs": _readable,
    "ssl_ca_path": _readable,
    "ssl_certfile": _readable,
    "ssl_keyfile": _readable,
    "ssl_password": str,
    "ssl_cert_reqs": _one_of("required", "optional", "none"),
    "ssl_check_hostname": _flag,
    "ssl_ciphers": str,
}
"""Each option that a URL may set, with what reads its value; others would do nothing, or undo what
the service relies on."""


def _options(query: str, *, kind: str) -> dict[str, Any]:
    readers = (
        _READERS
        | {
            TCP: _TCP_READERS,
            TLS: _TCP_READERS | _TLS_READERS,
            UNIX: {},
        }[kind]
    )
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in readers:
            raise ValueError(_refusal(name, readers))
        if name in options:
            raise ValueError(f"the Redis URL has the option {name} twice")
        try:
            if not value:
                raise ValueError("a value")
            options[name] = readers[name](value)
        except ValueError as error:
            found = "" if name.endswith("password") else f" {value!r}"
            raise ValueError(
                f"the option {name} of the Redis URL is{found}; expected {error}"
            ) from error
    if options.get("ssl_cert_reqs") == "none":
        # Python's ssl refuses the one without the other.
        options["ssl_check_hostname"] = False
    return options


def _refusal(name: str, readers: Mapping[str, object]) -> str:
    if name in _OF_THE_SERVICE:
        return f"the option {name} can't be set in the Redis URL: {_OF_THE_SERVICE[name]}"
    if name in _TLS_READERS:
        return f"the option {name} of the Redis URL is for TLS; write rediss://"
    return (
        f"the Redis URL has an option {name[:40]!r}; expected one of {', '.join(sorted(readers))}"
    )
