"""Somebody at a browser, who notices whatever goes wrong in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

TIMEOUT_MS = 60_000
"""For a loaded machine."""
WIDE = (1280, 800)
PHONE = (390, 844)


@dataclass
class Person:
    """One tab of a browser of its own: cookies and all."""

    page: Page
    url: str
    troubles: list[str] = field(default_factory=list)
    """Errors of scripts, and requests to anywhere else than the server."""
    dialogs: list[str] = field(default_factory=list)
    """What scripts of others have said by `alert`: there must be none."""

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path, wait_until="domcontentloaded")
        return self.page

    def log_in(self, key: str) -> None:
        page = self.go("/")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Log in").click()

    def watch(self) -> None:
        """Notice what goes wrong from now on."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("dialog", self._on_dialog)

    def _on_console(self, message: ConsoleMessage) -> None:
        is_status = message.text.startswith("Failed to load resource")
        if message.type == "error" and not is_status:
            self.troubles.append(f"console: {message.text}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.accept()

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        is_remote = parts.scheme in ("http", "https", "ws", "wss")
        if is_remote and parts.netloc != urlsplit(self.url).netloc:
            self.troubles.append(f"request to {request.url}")


@contextmanager
def person(
    browser: Browser, url: str, *, size: tuple[int, int] = WIDE, is_dark: bool = False
) -> Iterator[Person]:
    """At the end nothing may have gone wrong."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if is_dark else "light",
        accept_downloads=True,
        ignore_https_errors=url.startswith("https:"),  # with certificates made by a test
    )
    context.set_default_timeout(TIMEOUT_MS)
    somebody = Person(context.new_page(), url)
    somebody.watch()
    try:
        yield somebody
    finally:
        context.close()
    assert not somebody.troubles, somebody.troubles
    assert not somebody.dialogs, somebody.dialogs
