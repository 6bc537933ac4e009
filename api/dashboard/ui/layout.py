"""Page layout: navigation bar, theme button, logout and banners."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from fastapi import Request
from nicegui import context, ui

from api.dashboard.live import Banner, Fresh
from api.dashboard.visitor import Visitor

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
def frame(request: Request, title: str, *, here: str = "") -> Iterator[None]:
    """Draws the layout around a page. `here` is the page's address in the navigation bar."""
    visitor = Visitor.of(request)
    prefix = visitor.path_prefix
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
        if visitor.sessions.are_needed:
            ui.label(visitor.caller.owner).classes("owner")
            with ui.element("form").props(f'method="post" action="{prefix}/logout"'):
                button = ui.button(icon="logout").props('type="submit" flat round dense')
                button.props('aria-label="Log out"').tooltip("Log out")
    with ui.element("main").classes("content"):
        context.client.storage["banner"] = Banner()
        _loss_notice(visitor)
        yield


def _loss_notice(visitor: Visitor) -> None:
    """Shows a banner while a recent loss of Redis data needs attention."""
    notice = Banner(icon="warning")
    store_loss = visitor.services.store_loss
    Fresh(store_loss.notice, lambda text: notice.say(text or ""), seconds=_NOTICE_SECONDS)


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
