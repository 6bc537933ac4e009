"""Login, logout and sessions of the dashboard, and the access of a page's user.

The login form needs no scripts. A random token in the browser's cookie maps to a key held in
memory, so a server restart ends all sessions. Every request looks the key up again, so revoking a
key ends its sessions. A `SessionUser` accesses the services, limited by the key of its session.
"""

import html
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import cast

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from api.auth import ANYONE, Caller, KeyRing, Scope
from api.dependencies import Services
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job
from worker.jobs.storage.files import StoredFile

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


class SessionEndedError(Exception):
    """The key was revoked or has expired, or the user logged out."""


class NotAllowedError(Exception):
    """The API key is read-only."""


@dataclass(frozen=True, slots=True)
class SessionUser:
    """One browser session. Each access checks the key again: a page may stay open for days."""

    services: Services
    sessions: Sessions
    token: str | None
    path_prefix: str = ""
    """Path prefix that a reverse proxy strips from each request."""

    @classmethod
    def of(cls, request: Request) -> "SessionUser":
        """Returns the visitor that `door` has attached to the request."""
        return cast(SessionUser, request.state.visitor)

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
        return self.services.files.get(file_id, owner=self.caller.owner_filter)


_PAGE = files("api.dashboard").joinpath("static/login.html").read_text(encoding="utf-8")
_REFUSAL = "This key is unknown, has expired, or lacks the read scope."

router = APIRouter()


@router.get("/login")
def login_page(request: Request, next: str = "/") -> HTMLResponse:  # noqa: A002 - a query parameter
    """Shows the login form."""
    return _page(request, next, message="", status=200)


@router.post("/login", response_model=None)
def log_in(
    request: Request,
    key: str = Form("", max_length=512),
    next: str = Form("/", max_length=2048),  # noqa: A002
) -> HTMLResponse | RedirectResponse:
    """Starts a session. The key is kept only in this server's memory."""
    user = SessionUser.of(request)
    token = user.sessions.begin(key.strip())
    if token is None:
        return _page(request, next, message=_REFUSAL, status=401)
    response = RedirectResponse(user.path_prefix + _inside(next), 303)
    response.set_cookie(
        COOKIE,
        token,
        max_age=SESSION_SECONDS,
        path=user.path_prefix or "/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/logout")
def log_out(request: Request) -> RedirectResponse:
    """Ends the session."""
    user = SessionUser.of(request)
    user.sessions.end(user.token)
    response = RedirectResponse(f"{user.path_prefix}/login", 303)
    response.delete_cookie(COOKIE, path=user.path_prefix or "/")
    return response


def _page(request: Request, target: str, *, message: str, status: int) -> HTMLResponse:
    text = _PAGE.replace("{prefix}", SessionUser.of(request).path_prefix)
    text = text.replace("{message}", message).replace("{next}", html.escape(_inside(target)))
    return HTMLResponse(text, status, headers={"cache-control": "no-store"})


def _inside(target: str) -> str:
    """Returns the address if it is on this server, else `/`.

    >>> [_inside(target) for target in ("/jobs/x?y=1", "//evil.example", "https://evil.example")]
    ['/jobs/x?y=1', '/', '/']
    """
    is_inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if is_inside and target.isprintable() else "/"
