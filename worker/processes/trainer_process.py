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
    """What to run, and where what it writes goes."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    grace_seconds: float
    """Time to end after `stop`."""
    max_log_bytes: int = 0
    """Size at which the log takes no more but its end; 0: none."""


class TrainerProcess:
    """Start it from the main thread: the kernel ends the tree when the starting thread ends.

    `held` are descriptors (the locks of the run directory and the slots) that stay open until the
    whole tree is gone.
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
        """The supervisor's."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The supervisor's, which is the command's; for people and tests: the outcome of an
        attempt is judged by what it left behind."""
        return self._process.returncode

    def has_ended_within(self, seconds: float) -> bool:
        """True when the tree is gone; waits up to `seconds` for it."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Asks the trainer to save and end; after the grace time it is killed."""
        self._process.send_signal(signal.SIGTERM)

    def ask_for_stacks(self) -> None:
        """All training processes write where they are to the log, those at least that can still
        take a signal. Nobody else gets it: it would end who does not expect it."""
        for pid in descendants(self._process.pid):
            if catches(pid, signal.SIGUSR1):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)

    def kill(self) -> None:
        """Ends the whole tree at once; the last checkpoint stays."""
        self._cut_lifeline()
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            # Stuck, e.g. on a dead file system: its own death kills the tree as well.
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Gives the lifeline back; a tree that is still there is killed."""
        if self._process.returncode is None:
            self.kill()
        self._cut_lifeline()

    def _cut_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
