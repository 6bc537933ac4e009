"""HOME and TMPDIR: each legal path works or is refused in one line before anything is started."""

import errno
import fcntl
import logging
import os
import subprocess
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr, ValidationError

from tests.small_disk import fill, small_disk
from worker.jobs.errors import StartRefusedError
from worker.jobs.settings import SharedSettings
from worker.jobs.startup.home_check import (
    MAX_HOME_BYTES,
    HomeFullError,
    HomeWriter,
    check_readable_home,
    check_temporary_directory,
    prepare_home,
)
from worker.jobs.storage.paths import Home

ODD_NAMES = ("run 10:30", "q'u\"o", "%s%(x)s", "{}{0}", "$HOME;#?&*[a]\\", "ü日本", "a\nb", "-n")


def refusal(root: Path) -> str:
    with pytest.raises(StartRefusedError) as caught:
        prepare_home(Home(root))
    message = str(caught.value)
    assert "\n" not in message
    assert "; expected " in message
    return message


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_home_of_any_legal_name_is_made_and_left_empty(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    prepare_home(home)
    assert list(home.root.iterdir()) == []


def test_links_and_tildes_and_relative_paths_lead_to_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "not there yet")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for given, root in (("link", "not there yet"), ("~/a", "a"), ("b/../c", "c")):
        home = SharedSettings(home=Path(given)).home_directories
        assert home.root == tmp_path / root
        prepare_home(home)


@pytest.mark.parametrize("given", ["~no-such-user/home", "loop"])
def test_a_path_that_leads_nowhere_is_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValidationError, match=f"{given} is not a directory: .*; set FLANT5_HOME"):
        SharedSettings(home=Path(given), redis_url=SecretStr("redis://127.0.0.1:1/0"))


def test_paths_that_no_process_could_work_with_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bad_bytes = tmp_path / os.fsdecode(b"bad\xff")
    too_long = tmp_path.joinpath(*["a" * 200] * 18)
    for path, reason in (
        (tmp_path / "file", "Not a directory"),
        (tmp_path / "file" / "home", "Not a directory"),
        (tmp_path / ("a" * 256), "File name too long"),
        (bad_bytes, "is not UTF-8"),
        (too_long, f"at most {MAX_HOME_BYTES}"),
    ):
        assert reason in refusal(path)


def test_a_home_on_a_disk_that_is_read_only_or_full_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", num_bytes=2**20) as disk:
        fill(disk, leaving_bytes=0)
        with pytest.raises(
            HomeFullError, match="has no free space: No space left on device; expected"
        ):
            prepare_home(Home(disk))
        prepare_home(Home(disk), may_be_full=True)
        assert caplog.records[-1].levelno == logging.ERROR
        assert "has no free space" in caplog.text
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert "can't be written: Read-only file system" in refusal(disk)
        assert "Read-only file system" in refusal(disk / "home")
        check_readable_home(Home(disk))


def test_a_home_of_another_user_is_refused_and_so_is_a_part_of_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    tmp_path.chmod(0o755)
    for directory in tmp_path.parents[:-2]:  # those that pytest made
        directory.chmod(0o755)
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir(mode=0o700)
    (ours / "jobs").mkdir(parents=True)
    (ours / "audit").write_text("")
    os.chown(ours, 65534, 65534)
    os.seteuid(65534)
    try:
        assert "Permission denied (this is user 65534)" in refusal(theirs)
        with pytest.raises(StartRefusedError, match="can't be read: Permission denied"):
            check_readable_home(Home(theirs))
        message = refusal(ours)
        assert f"{ours}/jobs can't be written: Permission denied" in message
        assert f"sudo chown -R 65534:0 {ours}/jobs" in message
    finally:
        os.seteuid(0)
    assert f"{ours}/audit can't be written: Not a directory" in refusal(ours)


def test_each_process_needs_only_the_directories_that_it_writes_to(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    for directory in (tmp_path, *tmp_path.parents[:-2]):
        directory.chmod(0o755)
    writers: dict[str, set[HomeWriter]] = {
        "files": {"api", "worker", "controller", "writes"},
        "uploads": {"api", "controller", "writes"},
        "incoming": {"api", "writes"},
        "jobs": {"api", "worker", "controller", "writes"},
        "deleted": {"api", "controller", "writes"},
        "audit": {"api", "writes"},
        "cache": {"worker", "writes"},
        "slots": {"worker", "writes"},
        "workers": {"worker", "controller", "writes"},
        "models": set(),
    }
    for part in writers:
        (tmp_path / part / part).mkdir(parents=True)
        os.chown(tmp_path / part, 65534, 65534)
    os.seteuid(65534)
    try:
        for part, writing in writers.items():
            for writer in get_args(HomeWriter):
                expected: AbstractContextManager[object] = nullcontext()
                if writer in writing:
                    expected = pytest.raises(StartRefusedError, match=f"{part}/{part} can't be")
                with expected:
                    prepare_home(Home(tmp_path / part), writer=writer)
    finally:
        os.seteuid(0)


def test_the_probe_has_no_name_that_a_killed_process_could_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(fcntl, "flock", lambda *_: seen.append(os.listdir(tmp_path)))
    prepare_home(Home(tmp_path))
    assert seen == [[]]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_home_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    message = refusal(tmp_path)
    assert f"can't be locked: {os.strerror(number)}; expected flock" in message
    assert list(tmp_path.iterdir()) == []


def test_a_tmpdir_that_can_not_be_used_is_refused_and_a_full_one_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check_temporary_directory(None)
    check_temporary_directory(str(tmp_path))
    (tmp_path / "file").touch()
    for name, reason in (("nowhere", "No such file"), ("file", "Not a directory")):
        with pytest.raises(StartRefusedError, match=f"TMPDIR .*{name} can't be written: {reason}"):
            check_temporary_directory(str(tmp_path / name))
    with small_disk(tmp_path / "disk", num_bytes=2**16) as disk:
        fill(disk, leaving_bytes=0)
        check_temporary_directory(str(disk))
        assert f"TMPDIR {disk} can't be written: No space left on device" in caplog.text
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StartRefusedError, match="Read-only file system"):
            check_temporary_directory(str(disk))
