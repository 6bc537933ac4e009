"""What is seen of jobs in every state, and by whom."""

import re
import tarfile
import time
from pathlib import Path
from typing import cast

import httpx
import pytest
from playwright.sync_api import Browser, expect

from api.dashboard.ui.layout import SECONDS
from tests.browser.charts import drawn, hand_options_again, wait_for_charts
from tests.browser.person import Person, person
from tests.browser.scenes import EVIL, Scene
from tests.security.server import Server
from tests.stack.service import wait_until
from worker.jobs.store.redis import open_redis

pytestmark = pytest.mark.browser

PAGES = ("/", "/new", "/compare", "/files", "/models", "/jobs/{running}")


def test_jobs_are_listed_with_their_state_and_progress(alice: Person, scene: Scene) -> None:
    running = alice.page.locator(".job", has=alice.page.locator(f"a[href='/jobs/{scene.running}']"))
    expect(running).to_contain_text("running")
    expect(running).to_contain_text("step 100,000 of 120,000, 2 h 5 min left")
    expect(running.locator("polyline")).to_have_attribute("points", re.compile(r"^0\.0,\d"))
    expect(running.get_by_role("button", name="Pause")).to_be_visible()
    expect(running.get_by_role("button", name="Resume")).to_be_hidden()
    failed = alice.page.locator(".job", has_text="too-large")
    expect(failed).to_contain_text("CUDA out of memory")
    expect(failed.get_by_role("button", name="Resume")).to_be_visible()


def test_a_filter_is_in_the_address_and_survives_a_reload(alice: Person) -> None:
    alice.page.get_by_label("Filter").fill("support")
    expect(alice.page.locator(".job")).to_have_count(1)
    expect(alice.page).to_have_url(re.compile(r"\?q=support$"))
    alice.page.reload()
    expect(alice.page.locator(".job")).to_have_count(1)
    expect(alice.page.get_by_label("Filter")).to_have_value("support")
    alice.page.get_by_label("Filter").fill("nothing like it")
    expect(alice.page.get_by_text("No jobs match.")).to_be_visible()


def test_a_curve_of_100_000_steps_is_a_picture_of_a_few_that_keeps_its_spike(
    alice: Person, scene: Scene
) -> None:
    page = alice.go(f"/jobs/{scene.running}")
    wait_for_charts(page, num_charts=5)
    series = drawn(page, "loss")
    steps, losses = zip(*series["loss"], strict=True)
    assert 500 < len(losses) < 1300
    assert max(losses) == 9.0
    assert list(steps) == sorted(steps)
    assert steps[-1] > 99_000
    assert 300 < len(series["smoothed"]) < 700
    assert len(series["eval_loss"]) == 20


def test_a_failure_is_told_in_plain_words_with_the_last_lines(alice: Person, scene: Scene) -> None:
    alert = alice.go(f"/jobs/{scene.failed}").locator(".failure")
    expect(alert).to_contain_text("lower per_device_train_batch_size")
    expect(alert).to_contain_text("ValueError: the last line")


def test_the_whole_log_is_searched(alice: Person, scene: Scene) -> None:
    page = alice.go(f"/jobs/{scene.running}")
    expect(page.locator(".live-log")).to_contain_text("ValueError: the last line")
    page.get_by_label("Search the log").fill("NEEDLE")
    expect(page.locator(".found-log")).to_have_text(re.compile(r"^\s*1: needle in line 1\s*$"))
    expect(page.locator(".live-log")).to_be_hidden()
    page.get_by_label("Search the log").fill("")
    expect(page.locator(".live-log")).to_be_visible()


def test_markup_of_others_stays_text(alice: Person, scene: Scene) -> None:
    expect(alice.page.locator(".job", has_text=EVIL)).to_have_count(1)
    page = alice.go(f"/jobs/{scene.running}")
    expect(page.locator(".live-log")).to_contain_text(EVIL)
    expect(page.locator(".answer")).to_contain_text(EVIL)
    page = alice.go("/files")
    expect(page.get_by_text(f"{EVIL}.json")).to_be_visible()
    page = alice.go(f"/new?training_file={scene.evil_file}&suffix={EVIL}")
    expect(page.get_by_text("This file can be used for training.")).to_be_visible()
    for path in PAGES:
        page = alice.go(path.format(running=scene.running))
        expect(page.locator("main.content")).to_be_visible()
        assert page.locator("img[src=x]").count() == 0


def test_a_checkpoint_and_the_final_model_are_downloaded_as_archives(
    alice: Person, scene: Scene, tmp_path: Path
) -> None:
    page = alice.go(f"/jobs/{scene.succeeded}")
    for name, expected in (
        ("Step 20", {"checkpoint-20/model.safetensors"}),
        ("Final model", {"model/config.json", "model/model.safetensors"}),
    ):
        with page.expect_download() as download:
            page.get_by_label(name, exact=True).click()
        download.value.save_as(tmp_path / "a.tar")
        with tarfile.open(tmp_path / "a.tar") as archive:
            found = {member.removeprefix(f"{scene.succeeded}-") for member in archive.getnames()}
        assert found == expected


def test_jobs_are_compared_in_one_chart_that_the_address_names(alice: Person, scene: Scene) -> None:
    page = alice.go(f"/compare?jobs={scene.running},{scene.succeeded}&of=eval_loss")
    wait_for_charts(page, num_lines=2)
    series = drawn(page, scene.running)
    assert {name: len(points) for name, points in series.items()} == {
        scene.running: 20,
        scene.succeeded: 20,
    }
    # Points that were sent before the chart got its options again, of a job that sends no more.
    hand_options_again(page)
    assert drawn(page, scene.running) == series


def test_runs_of_any_length_are_compared_over_percent_of_them(alice: Person, scene: Scene) -> None:
    def ends() -> dict[str, float]:
        wait_for_charts(page, num_lines=2)
        return {name: points[-1][0] for name, points in drawn(page, scene.running).items()}

    page = alice.go(f"/compare?jobs={scene.running},{scene.failed}&of=eval_loss")
    assert ends() == {scene.running: 100_000, scene.failed: 40}
    page.get_by_role("combobox", name="Over").click()
    page.get_by_role("option", name="Over percent").click()
    expect(page).to_have_url(re.compile(r"&over=percent$"))
    percent = pytest.approx({scene.running: 100 * 100 / 120, scene.failed: 100 * 40 / 600})
    wait_until(lambda: ends() == percent)
    page.reload()
    assert ends() == percent


def test_a_wrong_key_is_refused_and_says_why(stranger: Person) -> None:
    stranger.log_in("f5-wrong")
    expect(stranger.page.get_by_role("alert")).to_contain_text("This key is unknown")
    for path in PAGES:
        expect(stranger.go(path.format(running="x")).get_by_label("API key")).to_be_visible()


def test_a_key_that_may_not_look_does_not_get_in(stranger: Person) -> None:
    stranger.log_in("sender")
    expect(stranger.page.get_by_role("alert")).to_contain_text("lacks the read scope")


def test_whoever_logs_in_gets_to_the_page_that_was_asked_for(
    stranger: Person, server: Server, scene: Scene
) -> None:
    page = stranger.go(f"/jobs/{scene.failed}")
    page.get_by_label("API key").fill(server.key)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{stranger.url}/jobs/{scene.failed}")
    assert server.key not in str(page.context.cookies())
    page.get_by_label("Log out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    expect(stranger.go("/").get_by_label("API key")).to_be_visible()


def test_what_is_anothers_is_not_found(stranger: Person, scene: Scene) -> None:
    stranger.log_in("bob")
    expect(stranger.page.locator(".job")).to_have_count(1)
    expect(stranger.page.locator(".job")).to_contain_text("of-bob")
    page = stranger.go(f"/jobs/{scene.running}")
    expect(page.get_by_text(f"no job '{scene.running}'")).to_be_visible()
    cookies = {each["name"]: each["value"] for each in page.context.cookies()}
    with httpx.Client(base_url=stranger.url, cookies=cookies, trust_env=False) as client:
        for path in (
            f"/download/jobs/{scene.succeeded}/model.tar",
            f"/download/files/{scene.evil_file}",
        ):
            assert client.get(path).status_code == 404, path
    expect(stranger.go("/files").get_by_text("No files yet")).to_be_visible()


def test_a_key_that_may_only_look_gets_no_buttons(stranger: Person, scene: Scene) -> None:
    stranger.log_in("looker")
    expect(stranger.page.locator(".job").first).to_be_visible()
    for name in ("Pause", "Resume", "Cancel", "Delete"):
        assert stranger.page.get_by_role("button", name=name).filter(visible=True).count() == 0
    page = stranger.go(f"/new?training_file={scene.evil_file}")
    expect(page.get_by_text("Your API key is read-only. It cannot start jobs.")).to_be_visible()


def test_nobody_gets_an_event_or_an_upload_through_without_a_session(server: Server) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        assert client.post("/upload", files={"file": ("a", b"[]")}).status_code == 401
        assert client.get("/download/files/file-x").status_code == 303
        assert client.get("/_nicegui_ws/socket.io/?EIO=4&transport=polling").status_code == 401
        foreign = {"origin": "http://evil.example"}
        assert client.post("/login", data={"key": "bob"}, headers=foreign).status_code == 403


def test_two_browsers_see_the_same_at_once(browser: Browser, server: Server, scene: Scene) -> None:
    url = f"http://127.0.0.1:{server.port}"
    with person(browser, url) as first, person(browser, url) as second:
        for each in (first, second):
            each.log_in(server.key)
            each.page.get_by_label("Filter").fill("after-that")
            expect(each.page.locator(".job")).to_have_count(1)
        first.page.get_by_role("button", name="Pause").click()
        first.page.locator(".question").get_by_role("button", name="Pause").click()
        for each in (first, second):
            expect(each.page.locator(".job")).to_contain_text("paused")
        second.page.get_by_role("button", name="Resume").click()
        second.page.locator(".question").get_by_role("button", name="Resume").click()
        expect(first.page.locator(".job")).to_contain_text("queued")


def test_a_tab_closed_over_a_confirmation_reads_nothing_more_and_breaks_nothing(
    browser: Browser, server: Server, scene: Scene
) -> None:
    before_it = len(server.log)
    with open_redis(server.redis.url) as redis:

        def num_lists() -> int:
            """Pages of the list of jobs that were read so far."""
            statistics = cast(dict[str, dict[str, int]], redis.info("commandstats"))
            return statistics["cmdstat_zrevrangebyscore"]["calls"]

        with person(browser, f"http://127.0.0.1:{server.port}") as viewer:
            viewer.log_in(server.key)
            expect(viewer.page.locator(".job").first).to_be_visible()
            before = num_lists()
            wait_until(lambda: num_lists() > before + 2)
            viewer.page.get_by_role("button", name="Cancel").first.click()
            expect(viewer.page.locator(".question")).to_be_visible()
        last, since = num_lists(), time.monotonic()
        began_at = since
        while time.monotonic() < since + 3 * SECONDS:
            assert time.monotonic() < began_at + 60, "the list is still read"
            if (now := num_lists()) != last:
                last, since = now, time.monotonic()
            time.sleep(0.05)
    assert "Traceback" not in server.log[before_it:]
