"""Very many jobs. Its file comes last: the others' jobs are on the first page until then."""

import pytest
from playwright.sync_api import Browser

from tests.browser.person import Person, person
from tests.browser.pictures import picture
from tests.browser.scenes import Scene, add_many
from tests.security.server import Server

pytestmark = pytest.mark.browser


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
