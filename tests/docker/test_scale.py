"""Several worker containers: jobs side by side, and a worker that joins from a further host."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from tests.docker.engine import run
from tests.docker.project import NAME, Project, free_port
from tests.docker.work import create, ended, extra, is_beyond
from tests.stack.service import wait_until

pytestmark = pytest.mark.docker

LONG = {"max_steps": 5000, "save_steps": 5000, "model_max_length": 64}
SHORT = {"max_steps": 3, "model_max_length": 64}


@pytest.fixture(scope="module")
def sdk(stack: Project) -> Iterator[openai.OpenAI]:
    with stack.sdk() as sdk:
        yield sdk


def worker_of(sdk: openai.OpenAI, job_id: str) -> str:
    (worker,) = extra(sdk.fine_tuning.jobs.retrieve(job_id), "workers")
    return str(worker)


def test_two_workers_run_two_jobs_at_once(stack: Project, sdk: openai.OpenAI) -> None:
    stack.up("--scale", "worker-cpu=2")
    jobs = [create(sdk, **LONG) for _ in range(2)]
    wait_until(lambda: all(is_beyond(sdk, job_id, 0) for job_id in jobs), seconds=180)
    assert len({worker_of(sdk, job_id) for job_id in jobs}) == 2
    for job_id in jobs:
        sdk.fine_tuning.jobs.cancel(job_id)


def test_with_one_worker_the_second_job_waits_and_says_for_what(
    stack: Project, sdk: openai.OpenAI
) -> None:
    stack.up("--scale", "worker-cpu=1")
    first, second = (create(sdk, **LONG) for _ in range(2))
    wait_until(lambda: is_beyond(sdk, first, 0), seconds=180)
    waiting = sdk.fine_tuning.jobs.retrieve(second)
    assert waiting.status == "queued"
    assert worker_of(sdk, first) in extra(waiting, "waiting_for")
    for job_id in (first, second):
        sdk.fine_tuning.jobs.cancel(job_id)


@pytest.fixture
def head(project: Project, tmp_path: Path) -> Iterator[Project]:
    """The first of two hosts: it has no worker, its HOME is a directory that both mount."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 10001, 10001)
    environment = project.environment | {
        "FLANT5_HOME_VOLUME": str(home),
        "FLANT5_REDIS_PUBLISH": f"127.0.0.1:{free_port()}",
    }
    head = replace(
        project,
        environment=environment,
        files=("docker-compose.yml", "docker-compose.head.yml"),
    )
    head.up("redis", "api", "keeper")
    yield head
    head.down()


@pytest.fixture
def further_host(head: Project) -> Iterator[Project]:
    url = f"redis://{head.environment['FLANT5_REDIS_PUBLISH']}/0"
    further = replace(
        head,
        name=f"{NAME}-worker",
        environment=head.environment | {"FLANT5_REDIS_URL": url},
        files=("docker-compose.worker.yml",),
    )
    further.up()
    yield further
    further.down()


@pytest.mark.usefixtures("further_host")
def test_a_worker_on_a_further_host_joins(head: Project) -> None:
    with head.sdk() as sdk:
        job = ended(sdk, create(sdk, **SHORT))
        assert job.status == "succeeded", job.error
