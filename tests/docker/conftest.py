"""An engine, the images, and the stack as `docker compose up` leaves it.

Everything that was made is removed at the end. FLANT5_TEST_KEEP_IMAGES=1 keeps the images, for
whoever runs these tests again and again.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run
from tests.docker import standin
from tests.docker.engine import docker_engine
from tests.docker.project import (
    API_IMAGE,
    INTEGRATIONS_IMAGE,
    WORKER_IMAGE,
    Project,
    new_project,
)

STANDINS = (standin.REDIS, standin.PROMETHEUS, standin.BASE, f"{standin.BASE}:bare")


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    with docker_engine() as is_ours:
        yield
        if os.environ.get("FLANT5_TEST_KEEP_IMAGES") == "1":
            return
        ours = (API_IMAGE, INTEGRATIONS_IMAGE, WORKER_IMAGE)
        run("docker", "image", "rm", "--force", *ours, *STANDINS)
        if is_ours:
            run("docker", "builder", "prune", "--all", "--force")


@pytest.fixture(scope="session")
def project(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Built, and down."""
    standin.build_standins()
    project = new_project(tmp_path_factory.mktemp("clone"))
    project.build()
    yield project
    project.down()
    assert not left_behind(project.name)


@pytest.fixture(scope="module")
def stack(project: Project) -> Iterator[Project]:
    """Up, with nothing in it, one worker."""
    project.up()
    yield project
    (Path(project.directory) / "last.log").write_text(project.compose("logs", "--no-color"))
    project.down()


def left_behind(name: str) -> str:
    """Containers, networks and volumes of a compose project, whatever it was called with."""
    of_project = ("--filter", f"name={name}", "--quiet")
    kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
    return "".join(run("docker", *kind, *of_project) for kind in kinds)
