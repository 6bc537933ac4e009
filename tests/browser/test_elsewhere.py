"""A job that is shown elsewhere, started from the form."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.person import Person
from tests.browser.scenes import Scene
from tests.security.server import Server
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.outbox import ALL_OWNERS, IntegrationRegistry
from worker.jobs.store.redis import Scripts, open_redis

pytestmark = pytest.mark.browser


def test_the_form_has_a_field_for_each_integration_that_is_set_up(
    alice: Person, scene: Scene, server: Server
) -> None:
    page = alice.go(f"/new?training_file={scene.evil_file}")
    expect(page.get_by_label("suffix", exact=True)).to_be_visible()
    expect(page.get_by_label("wandb_project")).to_have_count(0)
    with open_redis(server.redis.url) as redis:
        offers = IntegrationRegistry(Scripts(redis, QueuePolicy()))
        offers.publish({"wandb": [ALL_OWNERS], "mlflow": ["bob"]})
        try:
            page.reload()
            page.get_by_label("wandb_project").fill("chats")
            expect(page).to_have_url(re.compile("wandb_project=chats"))
            expect(page.get_by_label("mlflow_experiment")).to_have_count(0)
            page.get_by_role("button", name="Start").click()
            expect(page.get_by_text("wandb · project")).to_be_visible()
        finally:
            offers.publish({})
