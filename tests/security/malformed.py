"""One input that no proper client sends."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request as it goes over the wire."""

    method: str
    path: str
    """As it is sent, with its query string; characters are bytes (latin-1)."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    may_pass: bool = False
    """Reading is allowed to succeed: what was malformed may be ignored."""

    def encoded(self, authorization: str) -> bytes:
        """The bytes; headers that it sets itself come instead of the usual ones."""
        usual = {"Host": "127.0.0.1", "Authorization": authorization}
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            usual["Content-Length"] = str(len(self.body))
        own = {name.lower() for name in self.headers}
        if "transfer-encoding" in own:
            usual.pop("Content-Length", None)
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in usual.items() if name.lower() not in own]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that need not be a request; the connection says nothing more after them."""

    data: bytes
    may_be_silent: bool = True
    """The server may close the connection without an answer."""


def post_json(path: str, value: object, **headers: str) -> Malformed:
    """A body that is JSON, half surrogate pairs and all."""
    return Malformed("POST", path, JSON | headers, dumped(value))


def dumped(value: object) -> bytes:
    """JSON of anything that Python calls JSON: NaN, and halves of surrogate pairs as escapes."""
    return json.dumps(value).encode("ascii")


def nested(depth: int, *, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + closing * depth).encode()


def with_value(document: Mapping[str, Any], name: str, value: object) -> dict[str, Any]:
    """
    >>> with_value({"a": {"b": 1}}, "a.b", 2)
    {'a': {'b': 2}}
    """
    first, _, rest = name.partition(".")
    if rest:
        return {**document, first: with_value(document.get(first) or {}, rest, value)}
    return {**document, first: value}
