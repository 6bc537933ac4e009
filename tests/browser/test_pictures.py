"""Every page in light, in dark and on a phone: nothing is wider than the screen, nothing goes
wrong, and, when FLANT5_TEST_SCREENSHOTS names a folder, the pictures are put there."""

import pytest
from playwright.sync_api import Browser

from tests.browser.person import PHONE, WIDE, person
from tests.browser.pictures import picture
from tests.browser.scenes import Scene
from tests.security.server import Server

pytestmark = pytest.mark.browser

LOOKS = {"light": (WIDE, False), "dark": (WIDE, True), "phone": (PHONE, False)}
PAGES = {
    "jobs": "/",
    "job": "/jobs/{running}",
    "failed": "/jobs/{failed}",
    "compare": "/compare?jobs={running},{succeeded}",
    "new": "/new?training_file={evil_file}",
    "files": "/files",
    "models": "/models",
}
READY = {
    "jobs": "document.querySelectorAll('.job').length > 3",
    "job": "Object.keys(flant5.series).length >= 5 && document.querySelector('.live-log > *')",
    "failed": "document.querySelector('.failure-lines')?.textContent.includes('last line')",
    "compare": "Object.values(flant5.series).some((each) => Object.keys(each).length == 2)",
    "new": "document.querySelector('.report .verdict') && document.querySelector('.plan .figures')",
    "files": "document.querySelector('.entry')",
    "models": "document.querySelector('.entry')",
}


@pytest.mark.parametrize("look", LOOKS)
def test_each_page_fits_its_screen(
    browser: Browser, server: Server, scene: Scene, look: str
) -> None:
    size, is_dark = LOOKS[look]
    url = f"http://127.0.0.1:{server.port}"
    with person(browser, url, size=size, is_dark=is_dark) as viewer:
        picture(viewer.go("/login"), f"login-{look}")
        viewer.log_in(server.key)
        viewer.page.wait_for_selector(".job")
        for name, path in PAGES.items():
            page = viewer.go(path.format(**{f: getattr(scene, f) for f in scene.__slots__}))
            page.wait_for_function(READY[name])
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], name
            picture(page, f"{name}-{look}")
