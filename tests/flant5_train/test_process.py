"""What a training process shares with its worker, with real processes that are killed."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flant5_train.process import AttemptLostError, expect_ancestor, hold_locks, locks_to_hold
from tests.worker.scenes import environment, is_alive, wait_until

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock"
    path.write_text("worker gpu-0, process 1, job ftjob-1\n")
    return path


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A directory in which processes leave their ids; they are ended with the test."""
    directory = tmp_path / "pids"
    directory.mkdir()
    yield directory
    for path in directory.rglob("*.pid"):
        if is_alive(pid := int(path.read_text())):
            os.kill(pid, signal.SIGKILL)


def start(program: str, directory: Path, **changes: str) -> None:
    """The program, as a child that is reaped whatever becomes of it."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / program), str(directory)], env=environment(**changes)
    )
    process.returncode = 0  # nobody waits for it; its parent, this process, outlives it


def read_pid(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text(), what=f"{path.name} is written")
    return int(path.read_text())


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), what=f"{pid} ends")


def is_free(path: Path) -> bool:
    """Whether an exclusive lock can be had."""
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def train(*, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """The trainer's door; what it is to do is never looked at here."""
    return subprocess.run(
        [sys.executable, "-m", "flant5_train.train", "--run_directory", str(cwd)],
        env=environment(**changes),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_lock_is_held_until_the_last_forked_process_is_dead(lock: Path, pids: Path) -> None:
    start("forks_a_child.py", pids, FLANT5_HELD_LOCKS=json.dumps([str(lock)]))
    rank, child = read_pid(pids / "rank.pid"), read_pid(pids / "child.pid")
    assert not is_free(lock)
    kill(rank)
    assert not is_free(lock)
    kill(child)
    assert is_free(lock)


def test_ranks_share_a_lock_with_each_other_and_with_their_worker(lock: Path, pids: Path) -> None:
    with lock.open() as workers_own:
        fcntl.flock(workers_own, fcntl.LOCK_SH)
        for rank in ("0", "1"):
            (pids / rank).mkdir()
            start("forks_a_child.py", pids / rank, FLANT5_HELD_LOCKS=json.dumps([str(lock)]))
        ranks = [read_pid(pids / rank / "rank.pid") for rank in ("0", "1")]
        children = [read_pid(pids / rank / "child.pid") for rank in ("0", "1")]
        for pid in (*ranks, *children):
            kill(pid)
        assert not is_free(lock)
    assert is_free(lock)


def test_a_lock_that_another_attempt_has_taken_ends_the_process_without_a_trace(
    lock: Path, tmp_path: Path
) -> None:
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = train(cwd=tmp_path, FLANT5_HELD_LOCKS=json.dumps([str(lock)]))
    assert done.returncode == 1
    assert f"{lock} is locked by another attempt (worker gpu-0, process 1" in done.stderr
    # By now that belongs to the other attempt.
    assert not (tmp_path / "error.json").exists()


def test_a_lock_without_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.lock"):
        hold_locks((tmp_path / "nothing.lock",))


def test_a_trainer_that_a_person_started_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLANT5_HELD_LOCKS", raising=False)
    assert locks_to_hold() == ()
    monkeypatch.setenv("FLANT5_HELD_LOCKS", "")
    assert locks_to_hold() == ()


def test_all_locks_of_the_list_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLANT5_HELD_LOCKS", '["/run/lock", "/slots:2/cpu-0.lock"]')
    assert locks_to_hold() == (Path("/run/lock"), Path("/slots:2/cpu-0.lock"))


def test_parents_and_their_parents_are_ancestors_and_nobody_else() -> None:
    expect_ancestor(os.getpid())
    expect_ancestor(os.getppid())
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(AttemptLostError, match=f"process {other.pid}, the worker that"):
            expect_ancestor(other.pid)
    finally:
        other.communicate()
    with pytest.raises(AttemptLostError):
        expect_ancestor(other.pid)


def test_a_trainer_whose_worker_is_gone_ends_without_a_trace(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    done = train(cwd=tmp_path, FLANT5_WORKER_PROCESS=str(gone.pid))
    assert done.returncode == 1
    assert f"process {gone.pid}, the worker that started this trainer, is gone" in done.stderr
    assert not (tmp_path / "error.json").exists()


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "alive"])
def test_a_rank_that_starts_after_its_launcher_was_killed_does_not_train(
    pids: Path, is_killed: bool
) -> None:
    start("starts_a_late_rank.py", pids, FLANT5_WORKER_PROCESS=str(os.getpid()))
    launcher = read_pid(pids / "launcher.pid")
    read_pid(pids / "rank.pid")
    if is_killed:
        kill(launcher)
    (pids / "go").touch()
    wait_until(lambda: (pids / "end").exists() and (pids / "end").read_text())
    lost = f"process {os.getpid()}, the worker that started this trainer, is gone"
    assert (pids / "end").read_text() == (lost if is_killed else "trains")
