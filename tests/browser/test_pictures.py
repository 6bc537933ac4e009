"""Every page in light, in dark and on a phone: nothing is wider than the screen, nothing goes
wrong, and, when FLANT5_TEST_SCREENSHOTS names a folder, the pictures are put there."""

import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.person import PHONE, WIDE, Person, person
from tests.browser.scenes import Scene, add_many
from tests.security.server import Server

pytestmark = pytest.mark.browser

MAX_BYTES = 150_000
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


def test_500_jobs_are_read_page_by_page(browser: Browser, server: Server, scene: Scene) -> None:
    add_many(server, 500)
    with person(browser, f"http://127.0.0.1:{server.port}") as viewer:
        viewer.log_in(server.key)
        seen: list[str] = []
        for _ in range(3):
            viewer.page.wait_for_function("document.querySelectorAll('.job').length == 25")
            seen += viewer.page.locator(".job-name").all_text_contents()
            go_on(viewer, seen[-1])
        assert len(set(seen)) == 75
        assert seen[0] == "many-499"
        assert seen[74] == "many-425"
        viewer.page.reload()
        viewer.page.wait_for_function("document.querySelector('.job-name')?.text == 'many-424'")
        picture(viewer.page, "jobs-500")


def go_on(viewer: Person, last: str) -> None:
    viewer.page.get_by_role("button", name="Older").click()
    viewer.page.wait_for_function(
        "(last) => [...document.querySelectorAll('.job-name')].every((each) => each.text != last)",
        arg=last,
    )


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("FLANT5_TEST_SCREENSHOTS")
    if folder:
        # Charts are drawn a moment after their numbers are there.
        page.wait_for_timeout(700)
        path = Path(folder) / f"{name}.png"
        taken = page.screenshot(full_page=name.startswith(("job-", "new-", "failed-")))
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(BytesIO(taken)) as image:
            image.convert("RGB").quantize(96).save(path, optimize=True)
        assert path.stat().st_size < MAX_BYTES, path
