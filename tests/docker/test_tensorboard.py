"""The compose profile `tensorboard`: what a job's trainer wrote, seen from outside."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.docker.project import UP_SECONDS, Project
from tests.docker.work import create, ended, losses
from tests.ports import free_port
from tests.stack.service import wait_until

pytestmark = pytest.mark.docker

PROFILE = ("--profile", "tensorboard")


@pytest.fixture
def tensorboard(stack: Project) -> Iterator[httpx.Client]:
    address = f"127.0.0.1:{free_port()}"
    environment = stack.environment | {"FLANT5_TENSORBOARD_PUBLISH": address}
    project = replace(stack, environment=environment)
    up = ("up", "--detach", "--wait", "--no-build", "tensorboard")
    project.compose(*PROFILE, *up, timeout=UP_SECONDS)
    with httpx.Client(base_url=f"http://{address}/data/plugin/scalars", timeout=60) as client:
        yield client
    project.compose(*PROFILE, "rm", "--stop", "--force", "tensorboard")


def get(client: httpx.Client, path: str, **params: str) -> Any:
    return client.get(path, params=params).raise_for_status().json()


def test_tensorboard_shows_a_job_that_came_after_it(
    stack: Project, tensorboard: httpx.Client
) -> None:
    with stack.sdk() as sdk:
        job = ended(sdk, create(sdk, max_steps=5, model_max_length=64))
    assert job.status == "succeeded", job.error
    expected = losses(stack, job.id)
    assert len(expected) == 5
    run = f"{job.id}/tensorboard"

    def is_shown() -> bool:
        if "train/loss" not in get(tensorboard, "/tags").get(run, {}):
            return False
        points = get(tensorboard, "/scalars", run=run, tag="train/loss")
        return [step for _, step, _ in points] == [1, 2, 3, 4, 5]

    wait_until(is_shown, seconds=60)  # it looks for news every five seconds
    points = get(tensorboard, "/scalars", run=run, tag="train/loss")
    assert [loss for _, _, loss in points] == pytest.approx(expected, rel=1e-6)
