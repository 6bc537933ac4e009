"""A worker that joins from a further host: no other one is up, which could take its jobs."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docker.project import NAME, Project
from tests.docker.work import create, ended
from tests.ports import free_port

pytestmark = pytest.mark.docker


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
    head.up("redis", "api", "controller")
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
        job = ended(sdk, create(sdk, max_steps=3, model_max_length=64))
        assert job.status == "succeeded", job.error
