"""Who sends a request, and what that lets it see and do."""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key is good for."""

    READ = "read"
    """Look at what is its owner's."""
    SUBMIT = "submit"
    """Upload, submit, cancel, delete: change what is its owner's."""
    ADMIN = "admin"
    """Widens the other two to what is everybody's, and to the service itself."""


_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
_ABOUT_ALL = ("/v1/recover", "/metrics")

DEFAULT_SCOPES = frozenset({Scope.READ, Scope.SUBMIT})


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of the key that a request came with."""

    owner: str
    """The key's name, '' on a server without keys. What the caller makes is this owner's."""
    scopes: frozenset[Scope]

    @property
    def sees_all(self) -> bool:
        return Scope.ADMIN in self.scopes

    @property
    def limited_to(self) -> str | None:
        """The owner whose things alone exist for the caller; None: all things do."""
        return None if self.sees_all else self.owner

    def may_see(self, owner: str) -> bool:
        """Whether the things of `owner` exist for the caller."""
        return self.sees_all or owner == self.owner


ANYONE = Caller(owner="", scopes=frozenset(Scope))
"""Whoever calls a server that asks for no keys."""


def refusal(caller: Caller, method: str, path: str) -> str | None:
    """Why the caller may not send such a request, or None. Looking needs `read`, changing
    `submit`, and what is about all owners `admin` as well (/metrics names everybody's jobs)."""
    needed = {Scope.READ if method in _LOOKS else Scope.SUBMIT}
    if path.startswith(_ABOUT_ALL):
        needed.add(Scope.ADMIN)
    if missing := needed - caller.scopes:
        has, lacks = _named(caller.scopes), _named(missing)
        return f"the key of {caller.owner} has the scopes {has}; this call needs {lacks}"
    return None


def _named(scopes: Set[Scope]) -> str:
    return ", ".join(scope for scope in Scope if scope in scopes)
