"""HOME and shared memory on real disks, some of them small."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.doctor.check import State
from api.cli.doctor.docker import MIN_BYTES, check_shared_memory
from api.cli.doctor.installation import LOW_BYTES, check_home
from tests.api.cli.doctor.programs import CONTAINER, PLAIN
from tests.small_disk import small_disk


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Path]:
    """A directory that nobody but root may enter."""
    directory = tmp_path / "private"
    directory.mkdir()
    directory.chmod(0)
    yield directory
    directory.chmod(0o700)


def test_a_home_is_written_to_and_left_as_it_was(tmp_path: Path) -> None:
    finding = check_home(tmp_path)
    assert finding.state in (State.OK, State.WARNING)
    assert "writable, locks work" in finding.found
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    finding = check_home(tmp_path / "new" / "home")
    assert f"{tmp_path}, where home will be created" in finding.found
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_a_file_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = check_home(tmp_path / "file" / "home")
    assert finding.state is State.FAILED
    assert "can't be written: Not a directory" in finding.found


def test_a_home_on_a_read_only_disk_can_not_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", num_bytes=2**20) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        finding = check_home(disk)
    assert finding.state is State.FAILED
    assert "can't be written: Read-only file system" in finding.found
    assert "chown" in finding.remedy


@pytest.mark.parametrize("home", ["private", "private/home"])
def test_a_home_that_this_user_may_not_enter_can_not_be_written(
    private: Path, another_user: None, home: str
) -> None:
    finding = check_home(private.parent / home)
    assert finding.state is State.FAILED
    assert f"can't be written: Permission denied (this is user {os.geteuid()})" in finding.found


def test_a_home_with_little_room_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", num_bytes=LOW_BYTES // 2) as disk:
        assert check_home(disk).state is State.FAILED
    with small_disk(tmp_path / "disk", num_bytes=2 * LOW_BYTES) as disk:
        finding = check_home(disk)
    assert finding.state is State.WARNING
    assert "2.0 GiB free" in finding.found
    assert "34 GB" in finding.expected


def test_shared_memory_matters_where_a_trainer_runs(tmp_path: Path) -> None:
    with small_disk(tmp_path / "shm", num_bytes=64 * 2**20) as shm:
        elsewhere = check_shared_memory(shm, host=CONTAINER, trains_here=False)
        container = check_shared_memory(shm, host=CONTAINER, trains_here=True)
        host = check_shared_memory(shm, host=PLAIN, trains_here=True)
    assert elsewhere.state is State.NOT_APPLICABLE
    assert (container.state, "FLANT5_SHM_SIZE" in container.remedy) == (State.FAILED, True)
    assert (host.state, "remount" in host.remedy) == (State.WARNING, True)
    assert "64.0 MiB" in host.found
    with small_disk(tmp_path / "shm", num_bytes=MIN_BYTES) as shm:
        assert check_shared_memory(shm, host=CONTAINER, trains_here=True).state is State.OK


def test_a_host_without_shared_memory_has_failed(tmp_path: Path) -> None:
    finding = check_shared_memory(tmp_path / "none", host=PLAIN, trains_here=True)
    assert finding.state is State.FAILED
