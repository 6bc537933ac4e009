"""Whoever looks at a page: the services, as far as they exist for the key that was shown."""

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from api.caller import Caller, Scope
from api.dashboard.sessions import Sessions
from api.services import Services
from worker.jobs.errors import NotFoundError
from worker.jobs.files import StoredFile
from worker.jobs.job import Job


class SessionEndedError(Exception):
    """The key was revoked, has expired, or somebody logged out."""


class NotAllowedError(Exception):
    """The key may look and not touch."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """One browser. What it may see is asked anew each time: its page may stay open for days."""

    services: Services
    sessions: Sessions
    token: str | None
    path_prefix: str = ""
    """Path that a proxy in front of the server strips from each request."""

    @classmethod
    def of(cls, request: Request) -> "Visitor":
        """Who sent the request, as the door has found out."""
        return cast(Visitor, request.state.visitor)

    @property
    def caller(self) -> Caller:
        """Raises SessionEndedError."""
        caller = self.sessions.caller_of(self.token)
        if caller is None:
            raise SessionEndedError("the session has ended; log in again")
        return caller

    @property
    def may_change(self) -> bool:
        """Whether buttons that change something are of use."""
        return Scope.SUBMIT in self.caller.scopes

    def changing(self) -> Caller:
        """The caller, before something is changed. Raises NotAllowedError, SessionEndedError."""
        caller = self.caller
        if Scope.SUBMIT not in caller.scopes:
            raise NotAllowedError(f"the key of {caller.owner} may look, and change nothing")
        return caller

    def job(self, job_id: str) -> Job:
        """Raises NotFoundError for another's job as for none."""
        job = self.services.store.get(job_id)
        if not self.caller.may_see(job.owner):
            raise NotFoundError(f"no job {job_id!r}")
        return job

    def file(self, file_id: str) -> StoredFile:
        """Raises NotFoundError for another's file as for none."""
        return self.services.files.get(file_id, owner=self.caller.limited_to)
