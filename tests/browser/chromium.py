"""A headless Chromium: Debian's, installed when there is none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.debian import install

_NAMES = ("chromium", "chromium-browser", "google-chrome")


class NoBrowserError(Exception):
    """There is none and none could be installed; the message says what was tried."""


def find_chromium() -> str:
    """Its path. Raises NoBrowserError."""
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoBrowserError(
            f"no {', '.join(_NAMES)} is here, and one can be installed by root on Debian only; "
            "install Chromium"
        )
    install("chromium", "fonts-dejavu-core")
    path = shutil.which("chromium")
    if path is None:
        raise NoBrowserError("apt-get installed chromium, and there is still none")
    return path


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """One browser; take a context of it for each user."""
    with sync_playwright() as playwright:
        # Root has no sandbox, and a container's /dev/shm is small.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        yield browser
        browser.close()
