"""Login sessions: a random token in the browser's cookie maps to a key held in memory.

A server restart ends all sessions. Every request looks the key up again, so revoking a key ends its
sessions.
"""

import secrets
import time
from collections.abc import Callable

from api.auth import KeyRing
from api.caller import ANYONE, Caller, Scope

COOKIE = "flant5_session"
SESSION_SECONDS = 7 * 24 * 3600
_MAX_SESSIONS = 10_000


class Sessions:
    """All sessions of this process. Without a key ring, no login is required."""

    def __init__(self, keys: KeyRing | None, *, clock: Callable[[], float] = time.monotonic):
        self._keys = keys
        self._clock = clock
        self._open: dict[str, tuple[str, float]] = {}

    @property
    def are_needed(self) -> bool:
        """True if the server requires keys."""
        return self._keys is not None

    def begin(self, key: str) -> str | None:
        """Returns the token of a new session; None if the key is invalid or lacks `read`.

        Raises KeysFileError.
        """
        if self._looker(key) is None:
            return None
        now = self._clock()
        alive = {token: held for token, held in self._open.items() if now < held[1]}
        # Drops the oldest session: they are in order of creation.
        self._open = dict(list(alive.items())[-_MAX_SESSIONS + 1 :])
        token = secrets.token_urlsafe(32)
        self._open[token] = (key, now + SESSION_SECONDS)
        return token

    def caller_of(self, token: str | None) -> Caller | None:
        """Returns the session's caller; None if it has ended. Raises KeysFileError."""
        if self._keys is None:
            return ANYONE
        held = self._open.get(token or "")
        if held is None or self._clock() >= held[1]:
            return None
        return self._looker(held[0])

    def end(self, token: str | None) -> None:
        """Logs out."""
        self._open.pop(token or "", None)

    def _looker(self, key: str) -> Caller | None:
        caller = self._keys.caller_of(key) if self._keys else ANYONE
        return caller if caller is not None and Scope.READ in caller.scopes else None
