"""API keys: the file that lists them, and the caller of a request with its permissions.

The file has one key per line, with its owner, and optionally with scopes and an expiry time:

    alice:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8:read,submit
    alice:ef797c8118f02dfb649607dd5d3f8c7623048c9c063d532cc95c5ed7a898a64f::20270101T000000Z

The name is that of the key's owner. The hexadecimal digits are the SHA-256 of the key: the keys
themselves are never stored. Without scopes, a key has `read,submit`. Empty lines and lines that
begin with `#` are allowed.
"""

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path


class Scope(StrEnum):
    """Permissions of an API key."""

    READ = "read"
    """Read the objects of the key's owner."""
    SUBMIT = "submit"
    """Upload, submit, cancel and delete: change the objects of the key's owner."""
    ADMIN = "admin"
    """Extends the other two to the objects of all owners, and to the service itself."""


_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
_ABOUT_ALL = ("/v1/recover", "/metrics")

DEFAULT_SCOPES = frozenset({Scope.READ, Scope.SUBMIT})


@dataclass(frozen=True, slots=True)
class Caller:
    """Owner of the request's API key."""

    owner: str
    """Name of the key, '' on a server without keys. New objects of the caller belong to this
    owner."""
    scopes: frozenset[Scope]

    @property
    def sees_all(self) -> bool:
        return Scope.ADMIN in self.scopes

    @property
    def owner_filter(self) -> str | None:
        """The only owner whose objects the caller may see. None means all owners."""
        return None if self.sees_all else self.owner

    def may_see(self, owner: str) -> bool:
        """Returns True if the caller may see the objects of `owner`."""
        return self.sees_all or owner == self.owner


ANYONE = Caller(owner="", scopes=frozenset(Scope))
"""Caller of a server without API keys."""


def refusal(caller: Caller, method: str, path: str) -> str | None:
    """Returns an error message if the caller lacks a scope for the request, else None. Reading
    needs `read`, changing needs `submit`. Requests about all owners also need `admin` (/metrics
    names the jobs of all owners)."""
    needed = {Scope.READ if method in _LOOKS else Scope.SUBMIT}
    if path.startswith(_ABOUT_ALL):
        needed.add(Scope.ADMIN)
    if missing := needed - caller.scopes:
        has, lacks = _named(caller.scopes), _named(missing)
        return f"the key of {caller.owner} has the scopes {has}; this request needs {lacks}"
    return None


def _named(scopes: Set[Scope]) -> str:
    return ", ".join(scope for scope in Scope if scope in scopes)


_NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
_LINE = re.compile(
    rf"(?P<name>{_NAME.pattern}):(?P<digest>[0-9a-f]{{64}})"
    r"(?::(?P<scopes>[a-z,]*)(?::(?P<expires>\d{8}T\d{6}Z))?)?",
    re.ASCII,
)
_INSTANT = "%Y%m%dT%H%M%SZ"
_PREFIX = "f5-"
_EXPECTED = (
    "expected `name:sha256`, `name:sha256:scopes` or `name:sha256:scopes:expiry` with a name of "
    "letters, digits, '_', '.', '@', '-', 64 hexadecimal digits, scopes out of "
    f"{', '.join(Scope)} and an expiry like 20270101T000000Z"
)


class KeysFileError(Exception):
    """The keys file is unusable. The message contains the line and the expected format."""


@dataclass(frozen=True, slots=True)
class KeyHash:
    """One line of the file."""

    name: str
    digest: str
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    expires_at: datetime | None = None

    @property
    def id(self) -> str:
        """Identifies the key among those of its owner. Reveals nothing about the 256 random
        bits."""
        return self.digest[:8]

    @property
    def line(self) -> str:
        """The line in the file."""
        scopes = ",".join(scope for scope in Scope if scope in self.scopes)
        expires = "" if self.expires_at is None else f":{self.expires_at.strftime(_INSTANT)}"
        return f"{self.name}:{self.digest}:{scopes}{expires}"

    def is_good(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


def new_key() -> str:
    """Returns a new key of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """Returns the hash stored in the file. Plain SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()


def check_name(name: str) -> None:
    """Raises ValueError if the name is invalid."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"invalid key name {name!r}; expected 1 to 64 letters, digits, '_', '.', '@' or '-'"
        )


def check_scopes(scopes: Iterable[str]) -> frozenset[Scope]:
    """Raises ValueError if the scopes are invalid."""
    unknown = [scope for scope in scopes if scope not in set(Scope)]
    if unknown:
        raise ValueError(f"unknown scope {unknown[0]!r}; expected {', '.join(Scope)}")
    found = frozenset(map(Scope, scopes))
    if found <= {Scope.ADMIN}:
        raise ValueError(
            f"a key needs the scope {Scope.READ} or {Scope.SUBMIT}, or both: {Scope.ADMIN} only "
            "extends them to the objects of all owners"
        )
    return found


def read_keys(path: Path) -> tuple[KeyHash, ...]:
    """Returns the keys in the file. Raises KeysFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KeysFileError(f"API keys file {path} can't be read: {error}") from error
    lines = enumerate(text.splitlines(), start=1)
    kept = ((number, line.strip()) for number, line in lines if not line.startswith("#"))
    return tuple(_read_line(line, path, number) for number, line in kept if line)


def _read_line(line: str, path: Path, number: int) -> KeyHash:
    where = f"API keys file {path}, line {number}"
    match = _LINE.fullmatch(line)
    if match is None:
        raise KeysFileError(f"{where}: {_EXPECTED}")
    try:
        scopes = check_scopes(match["scopes"].split(",")) if match["scopes"] else DEFAULT_SCOPES
        expires = match["expires"]
        expires_at = expires and datetime.strptime(expires, _INSTANT).replace(tzinfo=UTC)
    except ValueError as error:
        raise KeysFileError(f"{where}: {error}; {_EXPECTED}") from error
    return KeyHash(match["name"], match["digest"], scopes, expires_at or None)


class KeyRing:
    """Identifies the owner of a key. Rereads the file when it changes, so revoked keys stop working
    without a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state: tuple[int, int, int] | None = None
        self._keys: tuple[KeyHash, ...] = ()

    def caller_of(self, key: str) -> Caller | None:
        """Returns the caller with this key, or None if the key is unknown or expired. Takes the
        same time for every key. Raises KeysFileError if the file is unusable, which rejects
        everyone."""
        digest = hash_of(key)
        found = None
        for known in self._current():
            if hmac.compare_digest(known.digest, digest):
                found = known
        if found is None or not found.is_good(datetime.now(UTC)):
            return None
        return Caller(owner=found.name, scopes=found.scopes)

    def _current(self) -> tuple[KeyHash, ...]:
        with self._lock:
            try:
                status = self._path.stat()
            except OSError as error:
                raise KeysFileError(f"API keys file {self._path} can't be read: {error}") from error
            # Also compares size and inode: two changes may have the same timestamp.
            state = (status.st_mtime_ns, status.st_size, status.st_ino)
            if state != self._state:
                self._keys = read_keys(self._path)
                self._state = state
            return self._keys
