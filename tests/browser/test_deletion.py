"""Jobs, models, checkpoints and files are deleted by clicks; a question first names the bytes."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.api.ended_jobs import EndedJob, ended_job
from tests.api.scenes import CONVERSATIONS
from tests.browser.person import Person
from tests.security.server import Server
from worker.jobs.storage.paths import Home
from worker.jobs.store.redis import open_redis
from worker.jobs.store.store import JobStore

pytestmark = pytest.mark.browser


@pytest.fixture
def done(server: Server) -> EndedJob:
    home = Home((server.directory / "home").resolve())
    with open_redis(server.redis.url) as redis:
        return ended_job(JobStore(redis), home, owner="alice")


def delete(page: Page, button: Locator, says: str) -> None:
    """Answers no first."""
    for answer in ("No", "Delete"):
        button.click()
        expect(page.locator(".question")).to_contain_text(says)
        expect(page.locator(".question")).to_contain_text(
            re.compile(r"frees [\d.]+ (bytes|kB) of disk")
        )
        page.locator(".question").get_by_role("button", name=answer).click()
        expect(page.locator(".question")).to_have_count(0)


def test_a_checkpoint_the_model_and_the_job_are_deleted_one_after_the_other(
    alice: Person, done: EndedJob
) -> None:
    page = alice.go(f"/jobs/{done.job.id}")
    delete(page, page.get_by_label("Delete step 4"), "Delete the checkpoint of step 4?")
    expect(page.get_by_text("Deleted: the checkpoint of step 4, ")).to_be_visible()
    expect(page.get_by_label("Delete step 4")).to_have_count(0)
    assert not done.files.checkpoint(4).exists()
    page = alice.go("/models")
    entry = page.locator(".entry", has_text=done.model)
    delete(page, entry.get_by_role("button", name="Delete"), f"Delete model {done.model}?")
    expect(entry).to_have_count(0)
    assert done.files.model == ()
    page = alice.go(f"/jobs/{done.job.id}")
    button = page.locator(".spread").get_by_role("button", name="Delete", exact=True)
    delete(page, button, f"Delete job {done.job.id[-8:]}?")
    # The page is left, since nothing is left to be seen there.
    expect(page).to_have_url(re.compile(r"/$"))
    assert not done.files.exist
    assert alice.troubles == []


def test_a_file_is_deleted(alice: Person, server: Server) -> None:
    with server.client() as client:
        files, form = {"file": ("old.json", CONVERSATIONS)}, {"purpose": "fine-tune"}
        file_id = client.post("/files", data=form, files=files).raise_for_status().json()["id"]
        page = alice.go("/files")
        entry = page.locator(".entry", has_text=file_id)
        delete(page, entry.get_by_role("button", name="Delete"), "Delete old.json?")
        expect(entry).to_have_count(0)
        assert client.get(f"/files/{file_id}").status_code == 404


def test_a_job_that_has_not_ended_has_no_button_to_delete_it(alice: Person) -> None:
    rows = alice.page.locator(".job")
    for status, is_seen in (("running", False), ("paused", False), ("succeeded", True)):
        row = rows.filter(has=alice.page.locator(f".chip.{status}")).first
        button = row.get_by_role("button", name="Delete").filter(visible=True)
        expect(button).to_have_count(int(is_seen))
