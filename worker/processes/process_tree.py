"""Finds and kills process trees without leaving a process behind.

`signal_fd` is a file descriptor for signals, for use with `select`. Linux only. Imports only the
standard library, because the supervisor depends on it.
"""

import os
import signal
import time
from pathlib import Path

_RETRY_SECONDS = 0.01


def descendants(pid: int) -> list[int]:
    """Returns all descendants that are alive or not yet reaped, parents first."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def catches(pid: int, number: signal.Signals) -> bool:
    """Returns True if the process has a handler for the signal, False if it has exited."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt:0")
    return bool(int(caught.removeprefix("SigCgt:"), 16) >> (number - 1) & 1)


def kill_descendants() -> None:
    """Kills all descendants of this process and waits for them. Requires `adopt_orphans`.

    One pass is not enough: a process may start another between the listing and the kill.
    """
    while True:
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_RETRY_SECONDS)


def kill_marked(variable: str) -> list[int]:
    """Kills all processes started with `variable` (NAME=value) in their environment.

    Returns their ids, after they have exited.
    """
    killed: list[int] = []
    while marked := [pid for pid in _all_processes() if variable.encode() in _environment(pid)]:
        for pid in marked:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        killed += [pid for pid in marked if pid not in killed]
        time.sleep(_RETRY_SECONDS)
    return killed


def _all_processes() -> list[int]:
    own = os.getpid()
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [pid for pid in pids if pid != own]


def _environment(pid: int) -> list[bytes]:
    """Returns [] for a process that has exited, a zombie, or another user's process."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return children
    return children


def signal_fd(*numbers: signal.Signals) -> int:
    """Returns a descriptor that receives one byte, the signal number, for each of these signals.

    They no longer interrupt or end the process. Call it in the main thread, once per process.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reader
