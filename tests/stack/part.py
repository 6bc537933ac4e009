"""One part of the service: a process of ours that can be killed and frozen, and comes back."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flant5_train.protocol.host import end_with
from tests.stack.service import REPOSITORY
from worker.processes.process_tree import descendants

PAUSE_SECONDS = 0.5
"""Time between the end of a part and its next start."""
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Program:
    """What a part runs; its output is appended to `log`."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


class Part:
    """A program that is started again whenever it has ended. May be used from several threads."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []
        self._start_at = 0.0
        self._is_wanted = True

    @property
    def pid(self) -> int:
        """Of the process that was started last; it may have ended."""
        assert self._process is not None, "the part was never started"
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        with self._lock:
            return self._process is not None and self._process.poll() is None

    @property
    def is_frozen(self) -> bool:
        return bool(self._frozen)

    def children(self) -> list[int]:
        """Of a worker: the pool process."""
        return [pid for pid in descendants(self.pid) if _parent(pid) == self.pid]

    def keep_alive(self) -> None:
        """Start it unless it runs, is away for longer, or was stopped for good."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            if self._process is not None and self._start_at == 0:
                self._start_at = time.monotonic() + PAUSE_SECONDS
            if self._is_wanted and time.monotonic() >= self._start_at:
                self._start()

    def kill(self, *, away_seconds: float = PAUSE_SECONDS) -> None:
        """kill -9; it is started again after `away_seconds`."""
        with self._lock:
            self._start_at = time.monotonic() + away_seconds
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP for it and its children (of a worker the pool process), not their descendants:
        a trainer goes on."""
        self._freeze([self.pid, *self.children()])

    def freeze_tree(self) -> None:
        """SIGSTOP for it and all that descends from it."""
        self._freeze([self.pid, *descendants(self.pid)])

    def thaw(self) -> None:
        """SIGCONT for all that was frozen."""
        frozen, self._frozen = self._frozen, []
        for pid in frozen:
            _signal(pid, signal.SIGCONT)

    def start(self) -> None:
        """Takes a `stop` back."""
        with self._lock:
            self._is_wanted = True

    def stop(self) -> None:
        """SIGTERM, SIGKILL when that takes too long; it stays away."""
        with self._lock:
            self._is_wanted = False
        self.thaw()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _freeze(self, pids: list[int]) -> None:
        self._frozen += pids
        for pid in pids:
            _signal(pid, signal.SIGSTOP)

    def _start(self) -> None:
        self._start_at = 0
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.program.argv,
                env=dict(self.program.environment),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(end_with, os.getpid()),
            )


def _parent(pid: int) -> int:
    """0 when the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rsplit(")", 1)[1].split()[1])


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended before
