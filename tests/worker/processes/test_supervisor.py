"""The supervisor with real processes: whatever is killed, nothing stays alive."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.worker.scenes import is_alive, read_pids, wait_until
from worker.jobs.storage.lock import LockedError, take_lock
from worker.processes.process_tree import descendants
from worker.processes.trainer_process import TrainerCommand, TrainerProcess

PROGRAMS = Path(__file__).parents[1] / "programs"

Start = Callable[..., TrainerProcess]


def argv(program: str, *arguments: object) -> list[str]:
    return [sys.executable, str(PROGRAMS / program), *map(str, arguments)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program of this folder under a supervisor; the log is `train.log`."""
    started: list[TrainerProcess] = []
    lock = take_lock(tmp_path / "lock", patience_seconds=0)

    def start_program(
        program: str, *arguments: object, grace_seconds: float = 30
    ) -> TrainerProcess:
        command = TrainerCommand(
            argv=argv(program, *arguments),
            environment=os.environ,
            log=tmp_path / "train.log",
            grace_seconds=grace_seconds,
        )
        started.append(TrainerProcess(command, held=(lock,)))
        return started[-1]

    yield start_program
    for trainer in started:
        trainer.close()
    os.close(lock)


def wait_for_pids(directory: Path, number: int) -> list[int]:
    """The ids of `number` processes, as soon as each has written its own."""
    wait_until(lambda: sum(bool(path.read_text()) for path in directory.glob("*.pid")) == number)
    return read_pids(directory)


def wait_until_dead(pids: list[int]) -> None:
    wait_until(lambda: not any(map(is_alive, pids)), seconds=10, what=f"{pids} end")


def log_lines(tmp_path: Path) -> list[str]:
    return (tmp_path / "train.log").read_text().splitlines()


def test_the_exit_code_and_the_output_are_the_commands(start: Start, tmp_path: Path) -> None:
    trainer = start("exits_1.py")
    assert trainer.has_ended_within(30)
    assert trainer.exit_code == 1
    lines = sorted(log_lines(tmp_path), key=lambda line: line.split()[1])
    assert [line.split(" ", 1)[1] for line in lines] == [
        "stderr what went wrong",
        "stdout before the end",
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line) for line in lines)


def test_nothing_of_a_flood_of_output_is_lost(start: Start, tmp_path: Path) -> None:
    assert start("floods_output.py").has_ended_within(60)
    lines = log_lines(tmp_path)
    for stream, name in (("stdout", "out"), ("stderr", "err")):
        of_stream = [line.split(" ", 2)[2] for line in lines if line.split()[1] == stream]
        assert of_stream == [f"{name} {number}" for number in range(20_000)]


def test_odd_output_becomes_plain_lines(start: Start, tmp_path: Path) -> None:
    assert start("writes_odd_output.py").has_ended_within(30)
    texts = [line.split(" ", 2)[2] for line in log_lines(tmp_path)]
    assert texts == [
        " 10%|#",
        " 20%|##",
        " 100%|###",
        "red bell",
        "café — 你",
        "bad \ufffd byte",
        "tab\there",
        "x" * 8192,
        "x" * 8192,
        "x" * 3616,
        "no end",
    ]


def test_cutting_the_lifeline_ends_the_whole_tree(start: Start, tmp_path: Path) -> None:
    trainer = start("spawns_session_children.py", tmp_path, "hangs.py")
    pids = wait_for_pids(tmp_path, 3)
    assert len({os.getsid(pid) for pid in pids}) == 3
    trainer.kill()
    assert not any(map(is_alive, [trainer.pid, *pids]))


def test_what_the_command_leaves_behind_is_ended(start: Start, tmp_path: Path) -> None:
    trainer = start("leaves_children_behind.py", tmp_path)
    assert trainer.has_ended_within(30)
    assert trainer.exit_code == 3
    assert not any(map(is_alive, wait_for_pids(tmp_path, 1)))


def test_processes_that_fork_faster_than_they_are_killed_are_ended(
    start: Start, tmp_path: Path
) -> None:
    trainer = start("keeps_forking.py", tmp_path)
    wait_for_pids(tmp_path, 1)
    trainer.kill()
    newest = (tmp_path / "newest.pid").read_text()
    assert not newest or not is_alive(int(newest))
    assert descendants(trainer.pid) == []


@pytest.mark.parametrize("ranks", ["rank.py", "hangs.py"])
def test_a_killed_parent_takes_the_tree_with_it(tmp_path: Path, ranks: str) -> None:
    command = argv("spawns_session_children.py", tmp_path, ranks)
    parent = subprocess.Popen(
        argv("starts_a_trainer.py", tmp_path / "train.log", *command), stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    supervisor = int(parent.stdout.readline())
    pids = wait_for_pids(tmp_path, 3)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until_dead([supervisor, *pids])


def test_a_killed_supervisor_takes_the_tree_with_it(start: Start, tmp_path: Path) -> None:
    trainer = start("spawns_session_children.py", tmp_path, "rank.py")
    pids = wait_for_pids(tmp_path, 3)
    os.kill(trainer.pid, signal.SIGKILL)
    wait_until_dead([trainer.pid, *pids])
    assert trainer.has_ended_within(10)


@pytest.mark.parametrize("ranks", ["rank.py", "hangs.py"])
def test_a_killed_torchrun_takes_its_ranks_with_it(
    start: Start, tmp_path: Path, ranks: str
) -> None:
    trainer = start("spawns_session_children.py", tmp_path, ranks)
    pids = wait_for_pids(tmp_path, 3)
    (torchrun,) = (pid for pid in pids if set(descendants(pid)))
    os.kill(torchrun, signal.SIGKILL)
    assert trainer.has_ended_within(30)
    assert trainer.exit_code == 128 + signal.SIGKILL
    assert not any(map(is_alive, pids))


def test_a_trainer_that_is_told_to_stop_saves_and_ends(start: Start, tmp_path: Path) -> None:
    trainer = start("saves_on_sigterm.py", tmp_path)
    wait_for_pids(tmp_path, 1)
    trainer.stop()
    assert trainer.has_ended_within(30)
    assert trainer.exit_code == 0
    assert (tmp_path / "saved").exists()


def test_a_trainer_that_does_not_stop_is_killed_after_the_grace_time(
    start: Start, tmp_path: Path
) -> None:
    trainer = start("ignores_sigterm.py", tmp_path, grace_seconds=0.2)
    (pid,) = wait_for_pids(tmp_path, 1)
    trainer.stop()
    assert trainer.has_ended_within(30)
    assert not is_alive(pid)


def test_the_lock_of_the_run_directory_is_held_until_the_tree_is_gone(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "lock", patience_seconds=0)
    command = TrainerCommand(
        argv=argv("hangs.py", tmp_path),
        environment=os.environ,
        log=tmp_path / "train.log",
        grace_seconds=5,
    )
    trainer = TrainerProcess(command, held=(lock,))
    os.close(lock)
    wait_for_pids(tmp_path, 1)
    with pytest.raises(LockedError, match="is locked by another process"):
        take_lock(tmp_path / "lock", patience_seconds=0)
    trainer.kill()
    os.close(take_lock(tmp_path / "lock", patience_seconds=0))


def test_a_command_that_does_not_exist_is_an_end_like_any_other(tmp_path: Path) -> None:
    with Path("/dev/null").open() as held:
        command = TrainerCommand(
            argv=["/nothing/here"],
            environment=os.environ,
            log=tmp_path / "train.log",
            grace_seconds=5,
        )
        trainer = TrainerProcess(command, held=(held.fileno(),))
        assert trainer.has_ended_within(30)
        assert trainer.exit_code == 1
        trainer.close()
    assert "/nothing/here" in log_lines(tmp_path)[-1]
