"""Child process of `flant5 up`: start, restart on failure, stop."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from flant5_train.protocol.host import end_with

_SETTLED_SECONDS = 30.0
"""Uptime that resets the restart delay to its minimum."""
_MIN_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
_MAX_LOG_BYTES = 16 * 2**20
_LAST_WORDS = 5


@dataclass(frozen=True, slots=True)
class Program:
    """A program to start. Its output is appended to `log`."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    stop_seconds: float
    """Timeout for a graceful shutdown."""


class Child:
    """A program that is restarted until it is stopped on request."""

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
        """Starts the process. It ends with this one, and receives no Ctrl-C from the terminal."""
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
                preexec_fn=partial(end_with, os.getpid(), by=signal.SIGTERM),
            )
        self._started_at = time.monotonic()

    def keep_alive(self) -> str | None:
        """Restarts a dead process with exponential backoff. Returns a message to show, if any."""
        if self.is_alive:
            return None
        if self._process is None:
            if time.monotonic() < self._start_again_at:
                return None
            self.start()
            return f"{self.name} restarted"
        if time.monotonic() - self._started_at > _SETTLED_SECONDS:
            self._pause_seconds = _MIN_PAUSE_SECONDS
        said = f"{self.name} {self.describe_end()}; restarting in {self._pause_seconds:g} s"
        self._process = None
        self._start_again_at = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _MAX_PAUSE_SECONDS)
        return said

    def describe_end(self) -> str:
        """Describes how the process ended."""
        code = self._process.poll() if self._process else None
        if code is None:
            return "is not running"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with code {code}"

    def last_words(self) -> str:
        """Returns the last lines of its output since the last start, on one line."""
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            lines = log.read(_MAX_LOG_BYTES).decode("utf-8", "replace").splitlines()
        return " | ".join(lines[-_LAST_WORDS:])

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if it has been started."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kills the process and its process group."""
        if self._process is not None and self.is_alive:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _open_log(path: Path) -> BinaryIO:
    """Opens the log for appending. A large log is first renamed to `.1`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")
