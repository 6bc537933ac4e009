"""What the hub says, and whom it refuses."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.hub.hub import READ_TOKEN, WRITE_TOKEN, Hub
from tests.hub.repository import Commit, Repository


@dataclass(frozen=True)
class Answer:
    """What a route says: a value for JSON, or the bytes of a file."""

    value: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.value if isinstance(self.value, bytes) else json.dumps(self.value).encode()


class RefusalError(Exception):
    """An answer of 400 and more, as the hub words it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def refuse_strangers(hub: Hub, token: str, name: str) -> None:
    """Who may not write there is told so."""
    if token not in (READ_TOKEN, WRITE_TOKEN):
        raise RefusalError(401, "Invalid credentials in Authorization header")
    if token != WRITE_TOKEN or name.split("/")[0] not in hub.namespaces:
        raise RefusalError(
            403, f'You don\'t have the rights to create a model under the namespace "{name}"'
        )


def readable(hub: Hub, token: str, name: str) -> Repository:
    """A repository that whoever shows this token may read; a private one does not exist for
    others."""
    if token and token not in (READ_TOKEN, WRITE_TOKEN):
        raise RefusalError(401, "Invalid credentials in Authorization header")
    repository = hub.repositories.get(name)
    if repository is None or (repository.is_private and not token):
        raise RefusalError(401, "Repository not found", "RepoNotFound")
    if repository.is_gated and not token:
        message = f"Access to model {name} is restricted. You must be authenticated to access it."
        raise RefusalError(401, message, "GatedRepo")
    return repository


def commit_at(repository: Repository, revision: str) -> Commit:
    commit = repository.commit(revision)
    if commit is None:
        raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return commit
