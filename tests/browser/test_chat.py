"""Talking to models on a page: two at a time, with a serving process that says what it is told."""

import re
import threading
from collections.abc import Iterable

import pytest
from playwright.sync_api import Browser, Page, expect

from flant5_train.protocol.inference import AnswerFinished, AnswerStarted, StreamEvent, TextDelta
from tests.api.chat_scenes import Server as ServingProcess
from tests.api.chat_scenes import echo, never, refusing
from tests.browser.person import Person, person
from tests.browser.scenes import EVIL, Scene
from tests.security.server import Server
from tests.stack.service import wait_until
from worker.jobs.store.inference import InferenceQueue, InferenceRequest
from worker.jobs.store.redis import open_redis

pytestmark = pytest.mark.browser


@pytest.fixture
def model(server: Server, scene: Scene) -> str:
    with server.client() as client:
        job = client.get(f"/fine_tuning/jobs/{scene.succeeded}").raise_for_status().json()
    return str(job["fine_tuned_model"])


def ask(page: Page, question: str) -> None:
    # While answers still come, of which one may have been seen, there is Stop in its place.
    expect(page.get_by_role("button", name="Ask")).to_be_visible()
    page.get_by_label("Question").fill(question)
    page.get_by_label("Question").press("Enter")


def test_both_answer_the_same_question_and_a_reload_keeps_it_all(
    alice: Person, server: Server, model: str, scene: Scene
) -> None:
    with ServingProcess(server.redis.url, echo) as serving:
        page = alice.go(f"/jobs/{scene.succeeded}")
        page.get_by_label("Chat with Final model").click()
        expect(page.get_by_label("Model", exact=True)).to_have_value(model)
        page.get_by_text("System message, temperature, length").click()
        page.get_by_label("System", exact=True).fill("Be brief.")
        page.get_by_label("Temperature", exact=True).fill("0.5")
        page.get_by_label("Temperature", exact=True).blur()
        ask(page, "say it twice")
        expect(page.locator(".reply")).to_have_count(2)
        expect(page.locator(".reply")).to_contain_text(["say it twice"] * 2)
        expect(page.locator(".reply").first).to_contain_text("3 tokens")
        expect(page.locator(".reply").first).to_contain_text("oldest 2 tokens were dropped")
        assert {chat.prompt.model for chat in serving.chats} == {model, "flant5-demo"}

        page.get_by_text(re.compile("Compare with base model")).click()
        expect(page).to_have_url(re.compile("base=off"))
        page.reload()
        expect(page.locator(".reply-text")).to_have_text(["say it twice"] * 2)
        expect(page.get_by_role("switch")).not_to_be_checked()
        ask(page, "once")
        expect(page.locator(".reply-text")).to_have_count(3)
        expect(page.get_by_role("button", name="Ask")).to_be_visible()
        last = serving.chats[-1].prompt
        assert last.model == model
        assert last.temperature == 0.5
        assert [turn.content for turn in last.turns] == [
            "Be brief.",
            "say it twice",
            "say it twice",
            "once",
        ]
        page.get_by_role("button", name="New conversation").click()
        expect(page.get_by_text("No messages yet.")).to_be_visible()


def test_a_restart_of_the_api_loses_nothing_of_a_conversation(
    alice: Person, server: Server, model: str
) -> None:
    with ServingProcess(server.redis.url, echo) as serving:
        page = alice.go(f"/chat?model={model}&base=off")
        expect(page.get_by_role("button", name="Ask")).to_be_enabled()
        page.get_by_text("System message, temperature, length").click()
        page.get_by_label("System", exact=True).fill("Be brief.")
        page.get_by_label("System", exact=True).blur()
        ask(page, "before")
        expect(page.locator(".reply")).to_contain_text("1 token")
        expect(page.get_by_role("button", name="Ask")).to_be_visible()
        address = page.url.partition(alice.url)[2]
        alice.go("/dashboard/static/icon.svg")  # a page that does not miss the server
        server.restart()
        alice.log_in(server.key)
        page.wait_for_selector(".job")
        alice.go(address)
        expect(page.locator(".reply-text")).to_have_text("before")
        expect(page.get_by_role("button", name="Ask")).to_be_enabled()
        ask(page, "after")
        expect(page.locator(".reply-text")).to_have_count(2)
        expect(page.locator(".reply-text").last).to_have_text("after")
        told = [turn.content for turn in serving.chats[-1].prompt.turns]
        assert told == ["Be brief.", "before", "before", "after"]
    alice.page.context.clear_cookies()
    alice.log_in("bob")
    page.wait_for_selector(".job")
    alice.go(address)
    expect(page.get_by_text("no fine-tuned model")).to_be_visible()
    expect(page.locator(".reply-text")).to_have_count(0)


def test_an_answer_is_seen_while_it_is_made(alice: Person, server: Server, model: str) -> None:
    may_go_on = threading.Event()

    def slowly(chat: InferenceRequest) -> Iterable[StreamEvent]:
        yield AnswerStarted(id=chat.id, prompt_tokens=1, truncated_tokens=0)
        yield TextDelta(id=chat.id, text="The first half")
        assert may_go_on.wait(timeout=60)
        yield TextDelta(id=chat.id, text=" and the second.")
        yield AnswerFinished(id=chat.id, reason="length", completion_tokens=7)

    with ServingProcess(server.redis.url, slowly):
        page = alice.go(f"/chat?model={model}&base=off")
        expect(page.get_by_role("button", name="Ask")).to_be_enabled()
        ask(page, "Slowly, please")
        expect(page.locator(".reply-text")).to_have_text("The first half")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        may_go_on.set()
        expect(page.locator(".reply-text")).to_have_text("The first half and the second.")
        expect(page.locator(".reply")).to_contain_text("7 tokens (length limit reached)")
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_markup_that_a_model_says_stays_text(alice: Person, server: Server, model: str) -> None:
    with ServingProcess(server.redis.url, echo):
        page = alice.go(f"/chat?model={model}")
        expect(page.get_by_role("switch")).to_be_visible()
        ask(page, f"**{EVIL}** <script>alert(2)</script>")
        expect(page.locator(".reply-text")).to_have_text(
            [f"**{EVIL}** <script>alert(2)</script>"] * 2
        )
        expect(page.locator(".asked")).to_contain_text(EVIL)
        assert page.locator("img[src=x], .said strong, .said script").count() == 0
        page = alice.go(f"/chat?model={EVIL}")
        expect(page.locator(".q-notification")).to_contain_text(f"unknown model '{EVIL}'")
        assert page.locator("img[src=x]").count() == 0


def test_why_there_is_no_answer_is_said_in_words(alice: Person, server: Server, model: str) -> None:
    page = alice.go(f"/chat?model={model}")
    expect(page.get_by_role("switch")).to_be_visible()
    ask(page, "Is anybody there?")
    expect(page.get_by_role("alert").first).to_contain_text("flant5 up")
    expect(page.get_by_role("alert").first).to_contain_text("python -m worker.serving")
    with ServingProcess(server.redis.url, refusing("too_long")):
        ask(page, "And now?")
        expect(page.get_by_role("alert").nth(2)).to_contain_text("that's why")
    page = alice.go(f"/chat?model=ft:gone&talk={page.url.partition('&talk=')[2]}")
    expect(page.locator(".q-notification")).to_contain_text("no fine-tuned model 'ft:gone'")
    expect(page.locator(".reply")).to_have_count(4)
    expect(page.get_by_role("button", name="Ask")).to_be_disabled()


def test_stop_and_a_closed_browser_cancel_the_answers(
    browser: Browser, server: Server, model: str, scene: Scene
) -> None:
    with ServingProcess(server.redis.url, never) as serving, open_redis(server.redis.url) as redis:
        queue = InferenceQueue(redis)

        def is_nobody_waiting() -> bool:
            return not queue.active([chat.id for chat in serving.chats])

        with person(browser, f"http://127.0.0.1:{server.port}") as viewer:
            viewer.log_in(server.key)
            viewer.page.wait_for_selector(".job")
            page = viewer.go(f"/chat?model={model}")
            expect(page.get_by_role("switch")).to_be_visible()
            ask(page, "Go on and on")
            wait_until(lambda: len(serving.chats) == 2)
            assert not is_nobody_waiting()
            page.get_by_role("button", name="Stop").click()
            expect(page.locator(".reply").first).to_contain_text("stopped")
            wait_until(is_nobody_waiting)
            ask(page, "And on")
            wait_until(lambda: len(serving.chats) == 4)
            assert not is_nobody_waiting()
        wait_until(is_nobody_waiting)


def test_a_key_that_may_only_look_asks_nothing_and_anothers_model_is_none(
    stranger: Person, model: str
) -> None:
    stranger.log_in("looker")
    expect(stranger.page.locator(".job").first).to_be_visible()
    page = stranger.go("/chat?model=flant5-demo")
    expect(page.get_by_text("Your API key is read-only. It cannot send messages.")).to_be_visible()
    expect(page.get_by_role("button", name="Ask")).to_be_disabled()
    page.context.clear_cookies()
    stranger.log_in("bob")
    expect(stranger.page.locator(".job").first).to_be_visible()
    page = stranger.go(f"/chat?model={model}")
    expect(page.locator(".q-notification")).to_contain_text("no fine-tuned model")
    expect(page.get_by_role("button", name="Ask")).to_be_disabled()
