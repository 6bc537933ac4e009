"""The handle of a running trainer: its supervisor process and the lifeline to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.processes.process_tree import catches, descendants

_KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TrainerCommand:
    """The command to run, and its log."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    grace_seconds: float
    """Seconds to exit after `stop`."""
    max_log_bytes: int = 0
    """Log size in bytes beyond which only the last lines are kept. 0 means no limit."""


class TrainerProcess:
    """A running trainer. Start it in the main thread: the kernel kills the tree when the starting
    thread ends.

    `held` are descriptors (locks of the run directory and the slots) that stay open until the whole
    tree has exited.
    """

    def __init__(self, command: TrainerCommand, *, held: tuple[int, ...]) -> None:
        reader, self._lifeline = os.pipe2(os.O_CLOEXEC)
        supervisor = [
            sys.executable,
            "-m",
            "worker.processes.supervisor",
            "--lifeline",
            str(reader),
        ]
        options = ["--grace-seconds", str(command.grace_seconds), "--log", str(command.log)]
        options += ["--max-log-bytes", str(command.max_log_bytes)]
        try:
            self._process = subprocess.Popen(
                [*supervisor, *options, "--", *command.argv],
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                pass_fds=(reader, *held),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reader)

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The supervisor's exit code, which is the command's. For users and tests only: the outcome
        of an attempt is classified by the files it wrote."""
        return self._process.returncode

    def has_ended_within(self, seconds: float) -> bool:
        """Waits up to `seconds`. Returns True if the tree has exited."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Asks the trainer to save and exit. After the grace time the supervisor kills it."""
        self._process.send_signal(signal.SIGTERM)

    def ask_for_stacks(self) -> None:
        """Makes training processes write their stacks to the log, if they still handle signals.

        Only processes with a handler get the signal: it would kill any other process.
        """
        for pid in descendants(self._process.pid):
            if catches(pid, signal.SIGUSR1):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)

    def kill(self) -> None:
        """Kills the whole tree at once. The last checkpoint is kept."""
        self._cut_lifeline()
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            # Stuck, e.g. on a dead file system. Killing the supervisor also kills the tree.
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Closes the lifeline. Kills the tree if it is still running."""
        if self._process.returncode is None:
            self.kill()
        self._cut_lifeline()

    def _cut_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
