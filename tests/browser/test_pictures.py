"""Every page in light, in dark and on a phone: nothing is wider than the screen, nothing goes
wrong, and, when FLANT5_TEST_SCREENSHOTS names a folder, the pictures are put there."""

from collections.abc import Iterable

import pytest
from playwright.sync_api import Browser, expect

from flant5_train.protocol.inference import AnswerFinished, AnswerStarted, StreamEvent, TextDelta
from tests.api.chat_scenes import Server as ServingProcess
from tests.browser.charts import wait_for_charts
from tests.browser.person import PHONE, WIDE, person
from tests.browser.pictures import picture
from tests.browser.scenes import Scene
from tests.security.server import Server
from worker.jobs.store.inference import InferenceRequest

pytestmark = pytest.mark.browser

LOOKS = {"light": (WIDE, False), "dark": (WIDE, True), "phone": (PHONE, False)}
PAGES = {
    "jobs": "/",
    "job": "/jobs/{running}",
    "failed": "/jobs/{failed}",
    "compare": "/compare?jobs={running},{succeeded}&over=percent",
    "new": "/new?training_file={evil_file}",
    "files": "/files",
    "models": "/models",
}
READY = {
    "jobs": "document.querySelectorAll('.job').length > 3",
    "job": "document.querySelector('.live-log > *')",
    "failed": "document.querySelector('.failure-lines')?.textContent.includes('last line')",
    "compare": "document.querySelector('.chart')",
    "new": "document.querySelector('.report .verdict') && document.querySelector('.plan .figures')",
    "files": "document.querySelector('.entry')",
    "models": "document.querySelector('.entry')",
}
CHARTS = {"job": (5, 1), "failed": (5, 1), "compare": (1, 2)}
"""How many there are, and lines in each."""


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
            num_charts, num_lines = CHARTS.get(name, (0, 0))
            wait_for_charts(page, num_charts=num_charts, num_lines=num_lines)
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], name
            picture(page, f"{name}-{look}")


SAID = {
    "How do I get a refund?": (
        "Send us the number of your order, and we return the money within five days:\n\n"
        "1. Open Orders and choose the one it is about.\n"
        "2. Press Return, and say what was wrong.\n"
        "3. Print the label; the way back costs you nothing.",
        "a refund of a refund",
    ),
    "And for something that I bought as a gift?": (
        "The same; the money goes to whoever paid for it.",
        "The money is a gift. " * 12,
    ),
}
"""Questions, and what a model and its base say to them."""


def support(chat: InferenceRequest) -> Iterable[StreamEvent]:
    is_tuned = chat.prompt.model.startswith("ft:")
    text = SAID[chat.prompt.turns[-1].content][0 if is_tuned else 1]
    reason, num_tokens = ("stop", 41) if is_tuned else ("length", 60)
    yield AnswerStarted(id=chat.id, prompt_tokens=50, truncated_tokens=0)
    yield TextDelta(id=chat.id, text=text)
    yield AnswerFinished(id=chat.id, reason=reason, completion_tokens=num_tokens)


@pytest.mark.parametrize("look", LOOKS)
def test_a_conversation_fits_its_screen(
    browser: Browser, server: Server, scene: Scene, look: str
) -> None:
    size, is_dark = LOOKS[look]
    url = f"http://127.0.0.1:{server.port}"
    with (
        ServingProcess(server.redis.url, support),
        person(browser, url, size=size, is_dark=is_dark) as viewer,
    ):
        viewer.log_in(server.key)
        viewer.page.wait_for_selector(".job")
        viewer.go(f"/jobs/{scene.succeeded}").get_by_label("Chat with Final model").click()
        expect(viewer.page.get_by_role("switch")).to_be_visible()
        for number, question in enumerate(SAID, start=1):
            viewer.page.get_by_label("Question").fill(question)
            viewer.page.get_by_role("button", name="Ask").click()
            expect(viewer.page.locator(".reply")).to_have_count(2 * number)
            note = "60 tokens (length limit reached)"
            expect(viewer.page.get_by_text(note)).to_have_count(number)
            expect(viewer.page.get_by_role("button", name="Ask")).to_be_visible()
        assert viewer.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        picture(viewer.page, f"chat-{look}")
