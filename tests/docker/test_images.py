"""What is in the images, as docs/images.md and the lock file say."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.commands import run
from tests.docker.project import API_IMAGE, INTEGRATIONS_IMAGE, WORKER_IMAGE, Project

pytestmark = pytest.mark.docker

TOOLS = {"pip", "setuptools"}
"""Of every virtual environment; torch asks for the second."""
NAMES = {
    API_IMAGE: "flant5-api",
    INTEGRATIONS_IMAGE: "flant5-integrations",
    WORKER_IMAGE: "flant5-worker",
}


def packages(image: str) -> dict[str, str]:
    """Of Python, by name; ours is not among them."""
    command = ("docker", "run", "--rm", image, "pip", "list", "--format", "json")
    found = {entry["name"]: entry["version"] for entry in json.loads(run(*command))}
    return {name: found[name] for name in found.keys() - TOOLS - {"flant5"}}


def locked(directory: Path) -> dict[str, str]:
    text = (directory / "requirements.lock").read_text()
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def documented(directory: Path, image: str) -> set[str]:
    """The packages that docs/images.md lists for it."""
    text = (directory / "docs" / "images.md").read_text()
    name = NAMES[image]
    listed = re.search(rf"^\*\*{name}\*\*[^:]*: (.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert listed is not None
    return set(re.split(r",\s+", listed[1]))


@pytest.mark.parametrize("image", NAMES)
def test_an_image_holds_what_is_locked_and_documented(project: Project, image: str) -> None:
    found = {name: version.partition("+")[0] for name, version in packages(image).items()}
    assert found.items() <= locked(project.directory).items()
    beside = documented(project.directory, API_IMAGE) if image == INTEGRATIONS_IMAGE else set()
    assert documented(project.directory, image) | beside == set(found)


@pytest.mark.parametrize("image", NAMES)
def test_an_image_says_what_it_is(project: Project, image: str) -> None:
    (found,) = json.loads(run("docker", "inspect", image))
    labels = found["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"].startswith("flant5")
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    text = (project.directory / "pyproject.toml").read_text()
    version = tomllib.loads(text)["project"]["version"]
    assert labels["org.opencontainers.image.version"] == version
    assert found["Config"]["User"] == "10001:10001"


def test_the_api_image_has_no_torch(project: Project) -> None:
    assert "torch" not in packages(API_IMAGE)
