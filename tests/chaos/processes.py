"""The processes of trainers as the kernel shows them: which there are, and whose they are."""

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.chaos.testimony import now

LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class TrainerProcess:
    """A supervisor, a torchrun or a rank that was alive at one moment."""

    pid: int
    started: int
    """In ticks of the kernel; tells processes apart that had the same id one after the other."""
    job_id: str
    command: str
    is_stopped: bool
    """It, or a process it descends from, is stopped by SIGSTOP."""
    ancestors: tuple[int, ...]
    """Its parent first."""

    @property
    def kind(self) -> str:
        if "worker.processes.supervisor" in self.command:
            return "supervisor"
        if "torch.distributed.run" in self.command:
            return "torchrun"
        return "rank"


@dataclass(frozen=True, slots=True)
class Look:
    """All trainer processes at one moment, and the main processes of the workers."""

    at: float
    workers: frozenset[int]
    processes: tuple[TrainerProcess, ...]


class Watch:
    """Looks at the processes of a HOME again and again, in a thread; a context manager."""

    def __init__(self, home: Path, *, workers: Callable[[], frozenset[int]]) -> None:
        self._home = home
        self._workers = workers
        self._looks: list[Look] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def looks(self) -> tuple[Look, ...]:
        return tuple(self._looks)

    def _run(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            workers = self._workers()
            self._looks.append(Look(now(), workers, tuple(trainer_processes(self._home))))


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    parent: int
    started: int


def trainer_processes(home: Path) -> list[TrainerProcess]:
    """Those of all jobs of a HOME: a path in the run directory is in the environment or on the
    command line of each."""
    run_directory = re.compile(re.escape(bytes(home / "jobs")) + rb"/([\w-]+)")
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "cmdline").read_bytes() + b"\0" + (path / "environ").read_bytes()
            if marked := run_directory.search(told):
                found.append(_look(int(path.name), marked[1].decode()))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return [process for process in found if process is not None]


def processes_of(home: Path) -> list[str]:
    """Whatever runs for a HOME: all that has its path in the environment or on the command line,
    but for whoever asks."""
    found = []
    own = _own_line()
    for path in Path("/proc").glob("[0-9]*"):
        if int(path.name) in own:
            continue
        try:
            command = (path / "cmdline").read_bytes()
            is_ours = bytes(home) in command + (path / "environ").read_bytes()
            if is_ours and _stat(int(path.name)).state not in "ZX":
                found.append(f"{path.name} {command.replace(bytes(1), b' ').decode()}")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def _own_line() -> set[int]:
    """This process and all that it descends from."""
    line, pid = set(), os.getpid()
    while pid > 0:
        line.add(pid)
        pid = _stat(pid).parent
    return line


def _look(pid: int, job_id: str) -> TrainerProcess | None:
    """None for a zombie: it does nothing any more."""
    stat = _stat(pid)
    if stat.state in "ZX":
        return None
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    ancestors: list[int] = []
    states = [stat.state]
    parent = stat.parent
    while parent > 1:
        ancestors.append(parent)
        try:
            above = _stat(parent)
        except (FileNotFoundError, ProcessLookupError):
            break  # it ends just now
        states.append(above.state)
        parent = above.parent
    return TrainerProcess(
        pid=pid,
        started=stat.started,
        job_id=job_id,
        command=command,
        is_stopped="T" in states,
        ancestors=tuple(ancestors),
    )


def _stat(pid: int) -> _Stat:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return _Stat(state=fields[0], parent=int(fields[1]), started=int(fields[19]))
