"""What this process is to its parent, to its worker and to its fellow processes."""

import ctypes
import faulthandler
import fcntl
import json
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_STANDARD_ERROR = 2


class AttemptLostError(Exception):
    """The attempt that this process was started for is no longer the one that may run."""


def die_with_parent() -> None:
    """Be killed when the launcher dies: torchrun gives each process a session of its own, so that
    nothing else would end it."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        # The parent died before the wish was known.
        os.kill(os.getpid(), signal.SIGKILL)


def expect_ancestor(pid: int) -> None:
    """Raises AttemptLostError unless this process descends from `pid`.

    Call it after `die_with_parent`, which can't see that the launcher died before it was called:
    this process, then another's child, would train on what is somebody else's by now.
    """
    ancestor = os.getpid()
    while ancestor not in (pid, 0):
        try:
            stat = Path(f"/proc/{ancestor}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            break
        # "4711 (name) S parent ...", and a name may contain anything
        ancestor = int(stat.rpartition(")")[2].split()[1])
    if ancestor != pid:
        raise AttemptLostError(f"process {pid}, the worker that started this trainer, is gone")


def hold_locks(paths: tuple[Path, ...]) -> None:
    """Shares the locks for the life of this process and of those that it forks: the run directory
    and the GPUs stay taken until the last of them is dead, whatever becomes of the worker.

    Raises AttemptLostError when another worker has taken one.
    """
    for path in paths:
        # Never closed: the kernel does that at the very end. The worker made the file.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 1024, 0).decode("utf-8", "replace").strip()
            raise AttemptLostError(
                f"{path} is locked by another attempt ({holder or 'unnamed'}); expected a lock "
                "that the worker shares with this process"
            ) from error


def tell_stacks_when_asked() -> None:
    """On SIGUSR1 write where each thread is to standard error, and go on: a worker asks before it
    ends a trainer that hangs."""
    faulthandler.register(signal.SIGUSR1, file=_STANDARD_ERROR, all_threads=True)


def leave_the_cores_to_others() -> None:
    """Tokenize in one thread, for a process that is one of as many as there are cores."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read at each call


def stay_offline() -> None:
    """Of a model hub only what was downloaded before; call it before transformers is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def worker_process() -> int | None:
    """The worker that this trainer was started by; None when a person started it."""
    pid = os.environ.get("FLANT5_WORKER_PROCESS")
    return None if pid is None else int(pid)


def locks_to_hold() -> tuple[Path, ...]:
    """The locks that the worker shares with this process; empty when a person started it."""
    paths = os.environ.get("FLANT5_HELD_LOCKS") or "[]"
    return tuple(map(Path, json.loads(paths)))


def rank() -> int:
    """This process's number among all of the run; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """This process's number on this machine; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))
