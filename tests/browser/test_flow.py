"""From a file to a model by clicks alone, on the whole service with the real trainer."""

import json
import re
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.charts import drawn, wait_for_points
from tests.browser.person import Person
from tests.stack.service import EXAMPLES, Service

pytestmark = pytest.mark.browser


def press(page: Page, name: str) -> None:
    """A button of the job's page, and the same in the question that follows."""
    page.locator(".actions").get_by_role("button", name=name).click()
    page.locator(".question").get_by_role("button", name=name).click()


def status_of(page: Page, status: str) -> None:
    expect(page.locator(".spread .chip").first).to_have_text(status)


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks.json"
    path.write_text(json.dumps(json.loads(EXAMPLES.read_text())[:12]))
    return path


def test_a_file_becomes_a_job_that_is_followed_paused_resumed_and_cancelled(
    somebody: Person, service: Service, talks: Path, tmp_path: Path
) -> None:
    page = somebody.go("/")
    page.get_by_role("button", name="Upload conversations").click()
    page.locator("input[type=file]").set_input_files(talks)
    expect(page.get_by_text("This file can be used for training.")).to_be_visible()
    expect(page.locator(".figures").first).to_contain_text("12Conversations")
    page.get_by_label("num_train_epochs").fill("900")
    page.get_by_label("model_max_length").fill("128")
    page.get_by_label("suffix").fill("by-hand")
    page.get_by_text("All other settings").click()
    page.get_by_label("save_steps").fill("5")
    expect(page).to_have_url(re.compile(r"save_steps=5"))
    page.reload()
    expect(page.get_by_label("num_train_epochs")).to_have_value("900")
    expect(page.locator(".plan")).to_contain_text("900Epochs")
    page.get_by_role("button", name=re.compile("^.*Start")).click()
    expect(page).to_have_url(re.compile(r"/jobs/ftjob-\w+$"))
    job_id = page.url.rpartition("/")[2]
    job = service.job(job_id)
    assert job["suffix"] == "by-hand"
    assert job["hyperparameters"]["model_max_length"] == 128

    wait_for_points(page, "loss", num_points=3)
    before = len(drawn(page, "loss")["loss"])
    wait_for_points(page, "loss", num_points=before + 1)
    expect(page.locator(".live-log")).to_contain_text("'loss'")
    page.reload()
    wait_for_points(page, "loss", num_points=before + 1)

    expect(page.get_by_label(re.compile(r"^Step \d+")).first).to_be_visible()
    press(page, "Pause")
    status_of(page, "paused")
    page.reload()  # older checkpoints were deleted a moment ago, and may still be listed
    with page.expect_download() as download:
        page.get_by_label(re.compile(r"^Step \d+")).first.click()
    download.value.save_as(tmp_path / "checkpoint.tar")
    with tarfile.open(tmp_path / "checkpoint.tar") as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert {"model.safetensors", "config.json"} <= names
    press(page, "Resume")
    status_of(page, "running")
    expect(page.locator(".story")).to_contain_text("Training resumes after step")
    press(page, "Cancel")
    status_of(page, "cancelled")
    assert service.job(job_id)["status"] == "cancelled"
    chat(page)


def chat(page: Page) -> None:
    """With a checkpoint of the job, beside the model that it began with."""
    page.reload()  # as above
    page.get_by_label(re.compile(r"Chat with Step \d+")).first.click()
    expect(page).to_have_url(re.compile(r"/chat\?model=.*ckpt-step-\d+.*&talk="))
    expect(page.get_by_role("button", name="Ask")).to_be_enabled()
    model = page.get_by_label("Model", exact=True).input_value()
    page.get_by_text("System message, temperature, length").click()
    page.get_by_label("Tokens", exact=True).fill("12")
    page.get_by_label("Tokens", exact=True).blur()
    ask(page, "How do I sort a list?", num_answers=2)
    page.get_by_text("Compare with base model flant5-demo").click()
    expect(page).to_have_url(re.compile("base=off"))
    page.reload()
    expect(page.get_by_label("Model", exact=True)).to_have_value(model)
    expect(page.get_by_role("switch")).not_to_be_checked()
    expect(page.locator(".reply")).to_have_count(2)
    ask(page, "And backwards?", num_answers=3)


def ask(page: Page, question: str, *, num_answers: int) -> None:
    """Every answer is whole, and short."""
    page.get_by_label("Question").fill(question)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text(re.compile(r"^\d+ tokens?\b"))).to_have_count(num_answers)
    expect(page.get_by_role("button", name="Ask")).to_be_enabled()
    assert page.get_by_role("alert").filter(visible=True).count() == 0
