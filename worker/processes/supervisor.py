"""The supervisor: owns a trainer's process tree and leaves no process behind.

    python -m worker.processes.supervisor --lifeline 5 --grace-seconds 60 --log train.log \\
        -- torchrun ...

torchrun starts each rank in a session of its own, so killing torchrun or its process group leaves
all ranks alive. This process adopts orphaned descendants. It kills every descendant when the
command exits or the lifeline closes. The lifeline is a pipe held by the starter; it also closes
when the starter dies. SIGTERM is forwarded to the command, which then has the grace time to exit.

When one rank fails, torchrun asks the others to exit and waits as long as for a checkpoint. But
they hang in a collective that cannot complete, so this process kills them half a second later.

If this process itself is killed, the kernel kills torchrun and the ranks, because each of them
requested that (PR_SET_PDEATHSIG).

Exit code: the command's; 128 + n if signal n killed it; 70 if the lifeline was cut.
"""

import argparse
import math
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO

from flant5_train.protocol.host import adopt_orphans, end_with
from worker.jobs.storage.log_format import Stream
from worker.processes.process_tree import descendants, kill_descendants, signal_fd
from worker.processes.trainer_log import LineSplitter, TrainerLog

LIFELINE_CUT = 70

RANKS_SECONDS = 0.5
"""Seconds the other ranks have to exit by themselves after one has failed."""

_CHUNK_BYTES = 65536
_CLOSES_RANKS = re.compile(r"Sending process \d+ closing signal")
"""torchrun's first message after a rank failed (torch.distributed.elastic.multiprocessing)."""


class Supervisor:
    """Runs one command; see the module's docstring."""

    def __init__(self, command: list[str], *, log: TrainerLog, grace_seconds: float) -> None:
        self._log = log
        self._grace_seconds = grace_seconds
        self._kill_at = self._kill_ranks_at = math.inf
        self._exit_code: int | None = None
        self._selector = selectors.DefaultSelector()
        self._wakeup = signal_fd(signal.SIGTERM, signal.SIGCHLD)
        self._command = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=partial(_prepare_command, os.getpid()),
        )
        self._outputs: dict[IO[bytes], tuple[Stream, LineSplitter]] = {}
        for pipe, stream in self._pipes():
            os.set_blocking(pipe.fileno(), False)
            self._outputs[pipe] = (stream, LineSplitter())
            self._selector.register(pipe, selectors.EVENT_READ)

    def run(self, lifeline: int) -> int:
        """Runs the command; returns its exit code after the last descendant has exited."""
        self._selector.register(lifeline, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        is_cut = False
        while self._exit_code is None and not is_cut:
            for key, _ in self._selector.select(self._seconds_to_deadline()):
                if key.fileobj == lifeline:
                    is_cut = True
                elif key.fileobj == self._wakeup:
                    self._take_signals()
                else:
                    self._take_output(key.fileobj)  # type: ignore[arg-type]
            if time.monotonic() >= self._kill_ranks_at:
                self._kill_ranks_at = math.inf
                self._kill_ranks()
            is_cut = is_cut or time.monotonic() >= self._kill_at
        kill_descendants()
        for pipe in tuple(self._outputs):
            while pipe in self._outputs and self._take_output(pipe):
                pass
            self._end_output(pipe)
        return LIFELINE_CUT if self._exit_code is None else self._exit_code

    def _pipes(self) -> tuple[tuple[IO[bytes], Stream], ...]:
        assert self._command.stdout is not None
        assert self._command.stderr is not None
        return (self._command.stdout, "stdout"), (self._command.stderr, "stderr")

    def _seconds_to_deadline(self) -> float | None:
        deadline = min(self._kill_at, self._kill_ranks_at)
        return None if deadline == math.inf else max(0.0, deadline - time.monotonic())

    def _kill_ranks(self) -> None:
        """Kills the ranks but not torchrun, which must still report the first failed rank."""
        for pid in descendants(self._command.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _take_signals(self) -> None:
        for number in os.read(self._wakeup, _CHUNK_BYTES):
            if number == signal.SIGTERM and self._kill_at == math.inf and self._exit_code is None:
                self._kill_at = time.monotonic() + self._grace_seconds
                os.kill(self._command.pid, signal.SIGTERM)
            elif number == signal.SIGCHLD:
                self._reap()

    def _reap(self) -> None:
        """Reaps the command and adopted orphans. Nothing else may wait for the command."""
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._command.pid:
                    code = os.waitstatus_to_exitcode(ended[1])
                    self._exit_code = code if code >= 0 else 128 - code
                    self._command.returncode = code  # keeps Popen from waiting for it
        except ChildProcessError:
            return

    def _take_output(self, pipe: IO[bytes]) -> bool:
        """Reads a chunk. Returns False if nothing is available at the moment."""
        stream, splitter = self._outputs[pipe]
        try:
            data = os.read(pipe.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._end_output(pipe)
            return False
        lines = splitter.feed(data)
        self._log.append(stream, lines)
        is_stopping = self._kill_at < math.inf
        if stream == "stderr" and not is_stopping and any(map(_CLOSES_RANKS.search, lines)):
            self._kill_ranks_at = time.monotonic() + RANKS_SECONDS
        return True

    def _end_output(self, pipe: IO[bytes]) -> None:
        if pipe in self._outputs:
            stream, splitter = self._outputs.pop(pipe)
            self._log.append(stream, splitter.feed(b"", is_last=True))
            self._selector.unregister(pipe)
            pipe.close()


def _prepare_command(supervisor: int) -> None:
    end_with(supervisor)
    signal.set_wakeup_fd(-1)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.processes.supervisor")
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--grace-seconds", type=float, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--max-log-bytes", type=int, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with closing(TrainerLog(options.log, max_bytes=options.max_log_bytes)) as log:
        return _run(command, log, options)


def _run(command: list[str], log: TrainerLog, options: argparse.Namespace) -> int:
    try:
        supervisor = Supervisor(command, log=log, grace_seconds=options.grace_seconds)
    except OSError as error:
        log.append("stderr", [f"cannot start the trainer: {error}"])
        return 1
    return supervisor.run(options.lifeline)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
