"""Our compose project as a user has it: a clean copy of the repository, `make secrets`, `up`."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from openai import OpenAI

from tests.commands import run
from tests.docker import standin
from tests.ports import free_port
from tests.stack.conftest import QUICK
from tests.stack.service import REPOSITORY

NAME = "flant5-test"
API_IMAGE = "flant5-test-api"
WORKER_IMAGE = "flant5-test-worker"
INTEGRATIONS_IMAGE = "flant5-test-integrations"
UP_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Project:
    """The containers of one project, on the profile `cpu`."""

    directory: Path
    key: str
    environment: dict[str, str]
    name: str = NAME
    files: tuple[str, ...] = ("docker-compose.yml",)
    url: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", f"http://{self.environment['FLANT5_PUBLISH']}/v1")

    def compose(self, *args: str, timeout: float = 120) -> str:
        files = [part for name in self.files for part in ("--file", name)]
        command = ("docker", "compose", "--project-name", self.name, *files)
        environment = os.environ | self.environment
        command = (*command, "--profile", "cpu", *args)
        return run(*command, cwd=self.directory, env=environment, timeout=timeout)

    def build(self) -> None:
        self.compose("--profile", "integrations", "build", timeout=1200)

    def up(self, *args: str) -> None:
        """Returns when all health checks are content."""
        self.compose("up", "--detach", "--wait", "--no-build", *args, timeout=UP_SECONDS)

    def start(self, *args: str) -> None:
        """As `up`, for those who see for themselves when it works."""
        self.compose("up", "--detach", "--no-build", *args, timeout=UP_SECONDS)

    def down(self) -> None:
        """Containers, networks and volumes are gone after that."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans")

    def kill(self, service: str) -> None:
        """`docker kill`, for all containers of a service."""
        run("docker", "kill", *self.containers(service))

    def inside(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in the first container of a service."""
        container = self.containers(service)[0]
        return subprocess.run(
            ["docker", "exec", container, *command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def containers(self, *services: str) -> list[str]:
        return self.compose("ps", "--quiet", *services).split()

    def sdk(self) -> OpenAI:
        return OpenAI(base_url=self.url, api_key=self.key, max_retries=0)


def copy_repository(directory: Path) -> None:
    """What a clone of it would hold, and a torch without CUDA for the worker image."""
    listed = run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY
    )
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, directory / name)
    locked = (directory / "requirements.lock").read_text()
    torch = re.search(r"^torch==\S+$", locked, re.MULTILINE)
    assert torch is not None
    wanted = ("--no-deps", "--only-binary", ":all:", "--python-version", standin.PYTHON)
    wheels = str(directory / "docker" / "wheels")
    run(sys.executable, "-m", "pip", "download", *wanted, "--dest", wheels, torch[0])


def new_project(directory: Path) -> Project:
    """Not yet built."""
    copy_repository(directory)
    key = run("docker/secrets.sh", cwd=directory).splitlines()[0].rpartition(" ")[2]
    environment = QUICK | {
        "FLANT5_PUBLISH": f"127.0.0.1:{free_port()}",
        "FLANT5_REDIS_IMAGE": standin.REDIS,
        "FLANT5_PROMETHEUS_IMAGE": standin.PROMETHEUS,
        "FLANT5_API_IMAGE": API_IMAGE,
        "FLANT5_WORKER_IMAGE": WORKER_IMAGE,
        "FLANT5_INTEGRATIONS_IMAGE": INTEGRATIONS_IMAGE,
        "FLANT5_API_BASE_IMAGE": standin.BASE,
        "FLANT5_WORKER_BASE_IMAGE": standin.BASE,
        "FLANT5_WORKER_MEMORY": "8g",
        "FLANT5_SHM_SIZE": "1g",
    }
    return Project(directory, key, environment)
