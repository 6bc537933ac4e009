"""Parser of FLANT5_REDIS_URL: gives all Redis clients the same connection arguments.

redis-py and kombu (Celery) parse URLs differently (redis-py 8.1, kombu 5.7). kombu passes
`?protocol=3` on as text and fails. redis-py uses database 0 if the database is not a number.
Neither accepts `valkey://`. So they get only the arguments parsed by this module.
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
    "percent-encode `/ ? # @ [ ]` in the password, or keep it in FLANT5_REDIS_PASSWORD_FILE; put "
    "an IPv6 host in brackets, redis://[::1]:6379/0"
)
_OF_THE_SERVICE = {
    "socket_timeout": "the leases of jobs depend on it; set FLANT5_REDIS_TIMEOUT_SECONDS",
    "socket_connect_timeout": "the leases of jobs depend on it; set FLANT5_REDIS_TIMEOUT_SECONDS",
    "virtual_host": "use ?db=N",
    "ssl": "use rediss://",
}
"""Options that a client would accept but the URL must not set, with the reason."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """The address of a server and a database. Its repr omits the password."""

    kind: str
    host: str = ""
    port: int = _DEFAULT_PORT
    path: str = ""
    """Path of the socket of a unix address."""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of redis-py connections."""

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Parses a URL. Raises ValueError with one sentence that omits the password."""
        # Python's own parser silently drops line breaks and tabs.
        if not url.isprintable() or url != url.strip():
            raise ValueError(f"the Redis URL has spaces around it, or line breaks; {_EXPECTED}")
        kind = _kind(url)
        try:
            parts = urlsplit(url)
            # Also raises for a port that is not a number.
            has_port = parts.port is not None
        except ValueError as error:
            raise ValueError(
                f"the host or port of the Redis URL can't be read; {_ENCODE}"
            ) from error
        if parts.fragment:
            raise ValueError(f"the Redis URL has a part after `#`; {_ENCODE}")
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
        """Host and port, or the socket's path, for messages."""
        if self.kind == UNIX:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach the address."""
        if self.kind == UNIX or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def arguments(self, *, timeout_seconds: float) -> dict[str, Any]:
        """Returns the arguments of a redis-py connection, except its class, which depends on the
        client."""
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
        """The address that kombu shows in its log; kombu reads nothing else from it."""
        # A scheme with `+` would select another transport than ours.
        place = quote(self.path, safe="") if self.kind == UNIX else self.place
        return f"redis://{place}/{self.db}"


def _kind(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"the Redis URL has no scheme; {_EXPECTED}")
    if "sentinel" in scheme:
        raise ValueError(
            f"{scheme}:// is not supported: flant5 does not look up the primary; use the primary's "
            "own address, or one that follows it (a proxy, a virtual IP)"
        )
    if "cluster" in scheme:
        raise ValueError(
            f"{scheme}:// is not supported: a step of a job changes several keys at once, which a "
            "cluster refuses; use a server with cluster-enabled no"
        )
    if scheme == "redis+socket":
        raise ValueError("redis+socket:// is Celery's form; use unix:///path/of/socket?db=0")
    if scheme not in _KINDS:
        raise ValueError(f"the Redis URL has the unknown scheme {scheme[:20]}://; {_EXPECTED}")
    if "," in rest.rpartition("@")[2] or ";" in rest.rpartition("@")[2]:
        raise ValueError(
            "the Redis URL names several servers; expected one, a primary: flant5 keeps its jobs "
            "in one place and does not fail over by itself"
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
            raise ValueError(f"the Redis URL has an invalid host {host!r}: {error}") from error
    return host or "localhost"


def _port(parts: SplitResult, *, is_given: bool) -> int:
    server = parts.netloc.rpartition("@")[2]
    if server.count(":") > 1 and "[" not in server:
        raise ValueError(f"the host or port of the Redis URL can't be read; {_ENCODE}")
    if not is_given:
        return _DEFAULT_PORT
    if not parts.port:
        raise ValueError("the port of the Redis URL is 0; expected 1 to 65535")
    return parts.port


def _socket_path(parts: SplitResult) -> str:
    path = unquote(parts.path)
    if parts.netloc.rpartition("@")[2] or not path.startswith("/") or path == "/":
        raise ValueError(
            "a unix:// URL needs the absolute path of a socket, with three slashes: "
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
"""The options that a URL may set, with their parsers. Others would have no effect, or break what
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
        # Python's ssl module rejects one without the other.
        options["ssl_check_hostname"] = False
    return options


def _refusal(name: str, readers: Mapping[str, object]) -> str:
    if name in _OF_THE_SERVICE:
        return f"the option {name} can't be set in the Redis URL: {_OF_THE_SERVICE[name]}"
    if name in _TLS_READERS:
        return f"the option {name} of the Redis URL needs TLS; use rediss://"
    return (
        f"the Redis URL has an unknown option {name[:40]!r}; expected one of "
        f"{', '.join(sorted(readers))}"
    )
