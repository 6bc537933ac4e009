"""Who is logged in: a random token in the browser's cookie stands for a key in this memory.

A restart of the server ends all sessions. The key is looked up anew with every use, so that a
revoked one ends its sessions too.
"""

import secrets
import time
from collections.abc import Callable

from api.caller import ANYONE, Caller, Scope
from api.keys import KeyRing

COOKIE = "flant5_session"
SESSION_SECONDS = 7 * 24 * 3600
_MAX_SESSIONS = 10_000


class Sessions:
    """All sessions of this process. Without a key ring everybody is let in."""

    def __init__(self, keys: KeyRing | None, *, clock: Callable[[], float] = time.monotonic):
        self._keys = keys
        self._clock = clock
        self._open: dict[str, tuple[str, float]] = {}

    @property
    def are_needed(self) -> bool:
        """Whether the server asks for keys."""
        return self._keys is not None

    def begin(self, key: str) -> str | None:
        """The token of a new session; None when the key is not known, or not good for looking.

        Raises KeysFileError.
        """
        if self._looker(key) is None:
            return None
        now = self._clock()
        alive = {token: held for token, held in self._open.items() if now < held[1]}
        # The oldest goes: they are in the order of their beginning.
        self._open = dict(list(alive.items())[-_MAX_SESSIONS + 1 :])
        token = secrets.token_urlsafe(32)
        self._open[token] = (key, now + SESSION_SECONDS)
        return token

    def caller_of(self, token: str | None) -> Caller | None:
        """Who looks, or None when it is nobody (any more). Raises KeysFileError."""
        if self._keys is None:
            return ANYONE
        held = self._open.get(token or "")
        if held is None or self._clock() >= held[1]:
            return None
        return self._looker(held[0])

    def end(self, token: str | None) -> None:
        """Log out."""
        self._open.pop(token or "", None)

    def _looker(self, key: str) -> Caller | None:
        caller = self._keys.caller_of(key) if self._keys else ANYONE
        return caller if caller is not None and Scope.READ in caller.scopes else None
