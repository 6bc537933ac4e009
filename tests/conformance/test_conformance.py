"""Every call of the SDK that concerns us, by three major versions of it, on the whole service."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.auth import hash_of
from tests.conformance.program.checks import CHECKS
from tests.conformance.sdks import OLDER, REPOSITORY, VERSIONS, interpreter_with
from tests.stack.conftest import running

pytestmark = pytest.mark.stack

PROGRAM_SECONDS = 600.0
MAX_WAITING = 4
SCOPES = {"own": "read,submit", "reads": "read", "limited": "read,submit"}


@dataclass(frozen=True, slots=True)
class Report:
    """What the program said."""

    version: str
    problems: dict[str, str]
    passed: list[str]


@dataclass(frozen=True, slots=True)
class Bench:
    """A running service and a directory."""

    url: str
    directory: Path

    def run(self, version: str) -> Report:
        """The program by the interpreter that has this version."""
        python = interpreter_with(version)
        directory = self.directory / version
        directory.mkdir()
        keys = {name: key_of(version, name) for name in SCOPES}
        context = directory / "context.json"
        start = ":ckpt-step-1" if version == OLDER[0] else ""
        given = {"url": self.url, "keys": keys, "start": start, "max_waiting": MAX_WAITING}
        context.write_text(json.dumps(given))
        others = {name: text for name, text in os.environ.items() if not name.startswith("OPENAI")}
        done = subprocess.run(
            [str(python), "-m", "tests.conformance.program", str(context)],
            env=others | {"PYTHONPATH": str(REPOSITORY)},
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return Report(**json.loads(done.stdout.splitlines()[-1]))


def key_of(version: str, name: str) -> str:
    return f"f5-{name}-{version}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    home, directory = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("conformance")
    keys = directory / "keys"
    keys.write_text(
        "".join(
            f"{name}-{version}:{hash_of(key_of(version, name))}:{scopes}\n"
            for version in VERSIONS
            for name, scopes in SCOPES.items()
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLANT5_API_KEYS_FILE", str(keys))
        patch.setenv("FLANT5_MAX_FILE_BYTES", str(2**20))
        patch.setenv("FLANT5_MAX_QUEUED_PER_KEY", str(MAX_WAITING))
        with running(home) as service:
            yield Bench(service.url, directory)


@pytest.fixture(scope="module")
def report(bench: Bench, request: pytest.FixtureRequest) -> Report:
    return bench.run(request.param)


@pytest.mark.parametrize("report", VERSIONS, indirect=True, scope="module")
@pytest.mark.parametrize("check", CHECKS)
def test_the_sdk_of_each_version(report: Report, check: str) -> None:
    assert check not in report.problems, report.problems[check]
    assert check in report.passed


@pytest.mark.parametrize("report", VERSIONS, indirect=True, scope="module")
def test_the_program_was_run_by_the_version_it_says(
    report: Report, request: pytest.FixtureRequest
) -> None:
    assert f"[{report.version}]" in request.node.name
    assert set(report.problems) | set(report.passed) == set(CHECKS)


def test_the_versions_are_three_majors() -> None:
    assert [version.partition(".")[0] for version in VERSIONS] == ["1", "2", "3"]
    assert len(OLDER) == 2
