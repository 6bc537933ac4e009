"""Each process of the service on a HOME or a TMPDIR that can't be used: one line, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.cli_runs import FLANT5
from tests.small_disk import fill, small_disk

UP = (*FLANT5[1:], "up", "--port", "0")
PROCESSES = {
    "up": UP,
    "api": ("-m", "api"),
    "worker": ("-m", "worker"),
    "controller": ("-m", "worker.controller"),
    "serving": ("-m", "worker.serving"),
    "integrations": ("-m", "worker.integrations"),
}


def lines_of(processes: dict[str, tuple[str, ...]], **variables: str | Path) -> dict[str, str]:
    """What each of the processes printed, all started side by side, once they have ended."""
    given = {f"FLANT5_{name.upper()}": str(value) for name, value in variables.items()}
    environment = os.environ | {"FLANT5_REDIS_URL": "redis://127.0.0.1:1/0"} | given
    if "tmpdir" in variables:
        environment["TMPDIR"] = str(variables["tmpdir"])
    started = {
        name: subprocess.Popen(
            [sys.executable, *argv], env=environment, stderr=subprocess.PIPE, text=True
        )
        for name, argv in processes.items()
    }
    try:
        said = {name: process.communicate(timeout=120)[1] for name, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
    assert all(process.returncode in (1, 2) for process in started.values()), said
    return said


@pytest.fixture
def integrations_file(tmp_path: Path) -> Path:
    path = tmp_path / "integrations.toml"
    path.touch()
    return path


def test_every_process_refuses_a_home_that_is_a_file(
    tmp_path: Path, integrations_file: Path
) -> None:
    home = tmp_path / "ho:me"
    home.touch()
    said = lines_of(PROCESSES, home=home, integrations_file=integrations_file)
    for text in said.values():
        assert text.count("\n") == 1, said
        assert f"{home} can't be " in text
        assert "Not a directory" in text


def test_a_tmpdir_that_is_not_there_and_a_full_home_are_refused_in_one_line(
    tmp_path: Path,
) -> None:
    nowhere = tmp_path / "nowhere"
    said = lines_of(chosen("api", "controller"), home=tmp_path / "home", tmpdir=nowhere)
    for text in said.values():
        assert text.count("\n") == 1, said
        assert f"TMPDIR {nowhere} can't be written: No such file or directory" in text
    with small_disk(tmp_path / "disk", num_bytes=2**20) as disk:
        fill(disk, leaving_bytes=0)
        said = lines_of(chosen("up", "worker"), home=disk)
    for text in said.values():
        assert text.count("\n") == 1, said
        assert f"HOME {disk} has no free space: No space left on device" in text


def chosen(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: PROCESSES[name] for name in names}
