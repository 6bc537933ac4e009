"""The user of a page: access to the services, limited by the session's key."""

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from api.caller import Caller, Scope
from api.dashboard.sessions import Sessions
from api.dependencies import Services
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job
from worker.jobs.storage.files import StoredFile


class SessionEndedError(Exception):
    """The key was revoked or has expired, or the user logged out."""


class NotAllowedError(Exception):
    """The API key is read-only."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """One browser session. Each access checks the key again: a page may stay open for days."""

    services: Services
    sessions: Sessions
    token: str | None
    path_prefix: str = ""
    """Path prefix that a reverse proxy strips from each request."""

    @classmethod
    def of(cls, request: Request) -> "Visitor":
        """Returns the visitor that `door` has attached to the request."""
        return cast(Visitor, request.state.visitor)

    @property
    def caller(self) -> Caller:
        """The key's caller. Raises SessionEndedError."""
        caller = self.sessions.caller_of(self.token)
        if caller is None:
            raise SessionEndedError("the session has expired; log in again")
        return caller

    @property
    def may_change(self) -> bool:
        """True if the key may change anything."""
        return Scope.SUBMIT in self.caller.scopes

    def changing(self) -> Caller:
        """Returns the caller if it may change things. Raises NotAllowedError, SessionEndedError."""
        caller = self.caller
        if Scope.SUBMIT not in caller.scopes:
            raise NotAllowedError(f"the API key of {caller.owner} is read-only")
        return caller

    def job(self, job_id: str) -> Job:
        """Returns a job. Raises NotFoundError if it is missing or has another owner."""
        job = self.services.store.get(job_id)
        if not self.caller.may_see(job.owner):
            raise NotFoundError(f"no job {job_id!r}")
        return job

    def file(self, file_id: str) -> StoredFile:
        """Returns a file. Raises NotFoundError if it is missing or has another owner."""
        return self.services.files.get(file_id, owner=self.caller.limited_to)
