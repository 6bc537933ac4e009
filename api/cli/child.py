"""One process of the service under `flant5 up`: started, watched, restarted, stopped."""

import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1
_SETTLED_SECONDS = 30.0
"""A process that lived this long failed for a new reason: it is started again at once."""
_MIN_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
_MAX_LOG_BYTES = 16 * 2**20
_LAST_WORDS = 5

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Program:
    """What to start. Its output is appended to `log`."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    stop_seconds: float
    """Time it gets to end in good order."""


class Child:
    """A program that runs until it is told to stop."""

    def __init__(self, program: Program, *, inherited: tuple[int, ...]) -> None:
        self._program = program
        self._inherited = inherited
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._log_begins = 0
        self._start_again_at = 0.0
        self._pause_seconds = _MIN_PAUSE_SECONDS

    @property
    def name(self) -> str:
        return self._program.name

    @property
    def log(self) -> Path:
        return self._program.log

    @property
    def stop_seconds(self) -> float:
        return self._program.stop_seconds

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process. It ends with this one, and gets no Ctrl-C of the terminal."""
        with _open_log(self._program.log) as log:
            self._log_begins = log.tell()
            self._process = subprocess.Popen(
                self._program.argv,
                env=self._program.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._inherited,
                preexec_fn=partial(_end_with_parent, os.getpid()),
            )
        self._started_at = time.monotonic()

    def keep_alive(self) -> str | None:
        """Restart a process that died, after a pause that grows; what there is to say."""
        if self.is_alive:
            return None
        if self._process is None:
            if time.monotonic() < self._start_again_at:
                return None
            self.start()
            return f"{self.name} is started again"
        if time.monotonic() - self._started_at > _SETTLED_SECONDS:
            self._pause_seconds = _MIN_PAUSE_SECONDS
        said = f"{self.name} {self.describe_end()}; next start in {self._pause_seconds:g} s"
        self._process = None
        self._start_again_at = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _MAX_PAUSE_SECONDS)
        return said

    def describe_end(self) -> str:
        """How a process that died went."""
        code = self._process.poll() if self._process else None
        if code is None:
            return "is not running"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with code {code}"

    def last_words(self) -> str:
        """The end of what it printed since its last start, on one line."""
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            lines = log.read(_MAX_LOG_BYTES).decode("utf-8", "replace").splitlines()
        return " | ".join(lines[-_LAST_WORDS:])

    def send(self, number: signal.Signals) -> None:
        """Signal the process, if it lives."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process and all of its group at once."""
        if self._process is not None and self.is_alive:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _open_log(path: Path) -> BinaryIO:
    """The log, open at its end; a large one makes room and stays as `.1`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def _end_with_parent(parent: int) -> None:
    """Runs in the child before the program: when the parent is gone the program gets a SIGTERM,
    and when the parent went before that was arranged it does not start."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
