"""Caller of a request, and its permissions."""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum


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
    def limited_to(self) -> str | None:
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
