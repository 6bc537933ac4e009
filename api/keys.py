"""The API keys file: who may call, one `name:sha256hex` a line.

    alice:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8

The keys themselves are nowhere on disk. Empty lines and lines that begin with `#` are allowed.
"""

import hashlib
import hmac
import re
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
_LINE = re.compile(rf"(?P<name>{_NAME.pattern}):(?P<digest>[0-9a-f]{{64}})", re.ASCII)
_PREFIX = "f5-"


class KeysFileError(Exception):
    """The keys file can't be used; the message says which line, and what was expected."""


@dataclass(frozen=True, slots=True)
class KeyHash:
    """One line of the file."""

    name: str
    digest: str


def new_key() -> str:
    """A key of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """What the file holds of a key. Plain SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()


def check_name(name: str) -> None:
    """Raises ValueError when a key can't have this name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} can't name a key; expected 1 to 64 letters, digits, '_', '.', '@' or '-'"
        )


def read_keys(path: Path) -> tuple[KeyHash, ...]:
    """The keys in the file. Raises KeysFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KeysFileError(f"API keys file {path} can't be read: {error}") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise KeysFileError(
                f"API keys file {path}, line {number}: expected `name:sha256` with a name of "
                "letters, digits, '_', '.', '@', '-' and 64 hexadecimal digits"
            )
        found.append(KeyHash(name=match["name"], digest=match["digest"]))
    return tuple(found)


class KeyRing:
    """Tells whose key one is. Reads the file again when it changed, so that a revoked key stops
    working without a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state: tuple[int, int, int] | None = None
        self._keys: tuple[KeyHash, ...] = ()

    def owner_of(self, key: str) -> str | None:
        """The name beside the key, or None. Takes as long for every key, known or not. Raises
        KeysFileError when the file can't be used: nobody gets in then."""
        digest = hash_of(key)
        owner = None
        for known in self._current():
            if hmac.compare_digest(known.digest, digest):
                owner = known.name
        return owner

    def _current(self) -> tuple[KeyHash, ...]:
        with self._lock:
            try:
                status = self._path.stat()
            except OSError as error:
                raise KeysFileError(f"API keys file {self._path} can't be read: {error}") from error
            # The size and inode too: two changes may fall into one tick of the clock.
            state = (status.st_mtime_ns, status.st_size, status.st_ino)
            if state != self._state:
                self._keys = read_keys(self._path)
                self._state = state
            return self._keys
