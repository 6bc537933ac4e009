"""Page layout, and functions that all pages share.

- `page_layout` draws the navigation bar with the theme button, the logout and the banners.
- `confirm` is the confirmation dialog for actions that delete something or change a job.
- `load_or_404` loads the object of a page, or renders an error page.
- `record_audit_event` records dashboard actions in the audit log.
- `Poller` polls for live pages. `Banner` and `run_with_error_toast` show errors.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from nicegui import context, ui

from api.auth import Caller
from api.dashboard.ui.auth import NotAllowedError, SessionEndedError, SessionUser
from api.dependencies import Services
from api.http.audit import AuditLog
from worker.jobs.errors import JobsError, NotFoundError, StoreUnavailableError

SECONDS = 2.0
_MAX_SHARE = 0.05
"""Maximum share of one CPU for the reads of a page. Expensive reads run less often."""

Read = TypeVar("Read")

_log = logging.getLogger(__name__)


class Banner:
    """Banner at the top of a page, such as a warning about stale data."""

    def __init__(self, *, icon: str = "cloud_off") -> None:
        self._row = ui.row().classes("banner")
        with self._row:
            ui.icon(icon)
            self._label = ui.label()
        self._row.set_visibility(False)

    def show_text(self, text: str) -> None:
        self._label.set_text(text)
        self._row.set_visibility(bool(text))


class Poller(Generic[Read]):
    """Polls `read` in a thread and passes each result to `show`, until the page is left.

    Its timer belongs to the page and ends a few seconds after the browser disconnects.
    """

    def __init__(
        self, read: Callable[[], Read], show: Callable[[Read], None], *, seconds: float = SECONDS
    ) -> None:
        self._read = read
        self._show = show
        self._seconds = seconds
        self._client = context.client
        self._timer = ui.timer(seconds, self.refresh)

    def stop(self) -> None:
        """Stops polling."""
        self._timer.cancel()

    async def refresh(self) -> None:
        """Refreshes immediately."""
        try:
            answer, cost_seconds = await run_in_threadpool(_timed, self._read)
        except SessionEndedError:
            ui.navigate.to("/login")
            return
        except StoreUnavailableError as error:
            _log.warning("dashboard: cannot refresh page: %s", error)
            self._say("Redis is unavailable. The page may be out of date. Retrying …")
            return
        except JobsError as error:
            self._say(str(error))
            return
        if self._client.is_deleted:
            return
        self._say("")
        self._show(answer)
        self._timer.interval = max(self._seconds, cost_seconds / _MAX_SHARE)

    def _say(self, text: str) -> None:
        banner: Banner | None = self._client.storage.get("banner")
        if banner:
            banner.show_text(text)


def _timed(read: Callable[[], Read]) -> tuple[Read, float]:
    """Returns the result and the CPU seconds that reading it took."""
    began_at = time.thread_time()
    return read(), time.thread_time() - began_at


async def run_with_error_toast(action: Callable[[], Read], *, done: str) -> Read | None:
    """Runs an action in a thread and returns its result; shows `done` on success.

    On failure, notifies the user of the error and returns None.
    """
    try:
        answer = await run_in_threadpool(action)
    except SessionEndedError:
        ui.navigate.to("/login")
        return None
    except (JobsError, NotAllowedError) as error:
        ui.notify(str(error), type="negative", multi_line=True, close_button="OK", timeout=0)
        return None
    if done:
        ui.notify(done, type="positive")
    return answer


THEME_COOKIE = "flant5_theme"
_NOTICE_SECONDS = 15.0

_PAGES = (
    ("/", "Jobs", "list_alt"),
    ("/new", "New job", "add_circle_outline"),
    ("/compare", "Compare", "stacked_line_chart"),
    ("/files", "Files", "description"),
    ("/models", "Models", "inventory_2"),
    ("/chat", "Chat", "forum"),
)


@contextmanager
def page_layout(request: Request, title: str, *, here: str = "") -> Iterator[None]:
    """Draws the layout around a page. `here` is the page's address in the navigation bar."""
    user = SessionUser.of(request)
    prefix = user.path_prefix
    ui.add_head_html(
        f'<link rel="stylesheet" href="{prefix}/dashboard/static/dashboard.css">'
        f'<script src="{prefix}/dashboard/static/dashboard.js"></script>'
    )
    context.client.title = f"{title} · flant5"
    ui.dark_mode(value=_is_dark(request))
    with ui.header().classes("bar"):
        ui.link("flant5", "/").classes("brand")
        with ui.element("nav").classes("pages"):
            for address, name, icon in _PAGES:
                with ui.link(target=address).classes("page" + (" here" if address == here else "")):
                    ui.icon(icon)
                    ui.label(name).classes("page-name")
        ui.space()
        _theme_button(request)
        if user.sessions.are_needed:
            ui.label(user.caller.owner).classes("owner")
            with ui.element("form").props(f'method="post" action="{prefix}/logout"'):
                button = ui.button(icon="logout").props('type="submit" flat round dense')
                button.props('aria-label="Log out"').tooltip("Log out")
    with ui.element("main").classes("content"):
        context.client.storage["banner"] = Banner()
        _loss_notice(user)
        yield


def _loss_notice(user: SessionUser) -> None:
    """Shows a banner while a recent loss of Redis data needs attention."""
    notice = Banner(icon="warning")
    store_loss = user.services.store_loss
    Poller(store_loss.notice, lambda text: notice.show_text(text or ""), seconds=_NOTICE_SECONDS)


def _is_dark(request: Request) -> bool | None:
    """Returns the theme from the cookie; None follows the browser's preference."""
    return {"dark": True, "light": False}.get(request.cookies.get(THEME_COOKIE, ""))


def _theme_button(request: Request) -> None:
    """Draws the theme button. It runs in the browser; a cookie passes the theme to other pages."""
    button = ui.button(icon="contrast").props('flat round dense aria-label="Toggle dark mode"')
    button.tooltip("Toggle dark mode")
    button.on("click", js_handler="() => flant5.toggleTheme()")


def heading(text: str) -> ui.label:
    """Draws the title of a section."""
    return ui.label(text).classes("heading").props('role="heading" aria-level="2"')


def replace_address(path: str) -> None:
    """Replaces the browser's address without loading it, under the proxy's path prefix."""
    ui.run_javascript(f"history.replaceState({{}}, '', window.path_prefix + {json.dumps(path)})")


def empty(icon: str, text: str) -> None:
    """Draws the placeholder of an empty list or page."""
    with ui.column().classes("empty"):
        ui.icon(icon).classes("empty-icon")
        ui.label(text)


def chat_address(model: str) -> str:
    """Returns the address of the chat page for a model."""
    return f"/chat?{urlencode({'model': model})}"


async def confirm(title: str, text: str, *, yes: str) -> bool:
    """Returns True if the user confirmed."""
    with ui.dialog() as dialog, ui.card().classes("question"):
        ui.label(title).classes("heading wrap")
        ui.label(text)
        with ui.row().classes("answers"):
            ui.button("No", on_click=lambda: dialog.submit(False)).props("flat no-caps")
            ui.button(yes, on_click=lambda: dialog.submit(True)).props("unelevated no-caps")
    answer = await dialog
    if not dialog.is_deleted:  # closing the tab deletes it
        dialog.delete()
    return bool(answer)


Thing = TypeVar("Thing")


async def load_or_404(request: Request, find: Callable[[], Thing]) -> Thing | None:
    """Returns the object. If it can't be loaded, builds an error page and returns None.

    Objects of other owners produce the same 404 as missing ones.
    """
    try:
        return await run_in_threadpool(find)
    except JobsError as error:
        is_missing = isinstance(error, NotFoundError)
        context.client.status_code = 404 if is_missing else 503
        title = "Not found" if is_missing else "Unavailable"
        with page_layout(request, title), ui.column().classes("empty"):
            ui.icon("search_off" if is_missing else "cloud_off").classes("empty-icon")
            ui.label(str(error))
            ui.link("All jobs", "/")
        return None


def record_audit_event(action: str, thing: str, *, caller: Caller, services: Services) -> None:
    """Appends an audit event. `action` is the equivalent API call."""
    at = datetime.now(UTC)
    AuditLog(services.home.audit).append(
        {
            "at": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z",
            "request_id": "dashboard",
            "owner": caller.owner,
            "address": "",
            "action": action,
            "object": thing,
            "status": 200,
        }
    )
