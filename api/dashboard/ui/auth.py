"""Login and logout, with a form that needs no scripts."""

import html
from importlib.resources import files

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from api.dashboard.sessions import COOKIE, SESSION_SECONDS
from api.dashboard.visitor import Visitor

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
    visitor = Visitor.of(request)
    token = visitor.sessions.begin(key.strip())
    if token is None:
        return _page(request, next, message=_REFUSAL, status=401)
    response = RedirectResponse(visitor.path_prefix + _inside(next), 303)
    response.set_cookie(
        COOKIE,
        token,
        max_age=SESSION_SECONDS,
        path=visitor.path_prefix or "/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/logout")
def log_out(request: Request) -> RedirectResponse:
    """Ends the session."""
    visitor = Visitor.of(request)
    visitor.sessions.end(visitor.token)
    response = RedirectResponse(f"{visitor.path_prefix}/login", 303)
    response.delete_cookie(COOKIE, path=visitor.path_prefix or "/")
    return response


def _page(request: Request, target: str, *, message: str, status: int) -> HTMLResponse:
    text = _PAGE.replace("{prefix}", Visitor.of(request).path_prefix)
    text = text.replace("{message}", message).replace("{next}", html.escape(_inside(target)))
    return HTMLResponse(text, status, headers={"cache-control": "no-store"})


def _inside(target: str) -> str:
    """Returns the address if it is on this server, else `/`.

    >>> [_inside(target) for target in ("/jobs/x?y=1", "//evil.example", "https://evil.example")]
    ['/jobs/x?y=1', '/', '/']
    """
    is_inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if is_inside and target.isprintable() else "/"
