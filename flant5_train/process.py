"""Ties of a training process to its parent, its worker and the other ranks."""

import faulthandler
import fcntl
import json
import os
import signal
from pathlib import Path

from flant5_train.protocol.host import end_with

_STANDARD_ERROR = 2


class AttemptLostError(Exception):
    """The attempt of this process has lost its right to run."""


def die_with_parent() -> None:
    """Makes the kernel kill this process when the launcher dies.

    torchrun gives each process its own session. Without this, nothing else would kill it.
    """
    end_with(os.getppid())


def expect_ancestor(pid: int) -> None:
    """Raises AttemptLostError unless this process descends from `pid`.

    Call it after `die_with_parent`, which can't detect a launcher that died earlier. Without this
    check, an orphan would train in a run directory that another attempt owns by now.
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
    """Shares the worker's locks for the lifetime of this process and its forks.

    Run directory and GPUs stay locked until the last of them is dead, even if the worker dies.
    Raises AttemptLostError if another worker holds a lock.
    """
    for path in paths:
        # Never closed: the kernel closes it at exit. The worker created the file.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 1024, 0).decode("utf-8", "replace").strip()
            raise AttemptLostError(
                f"{path} is locked by another attempt ({holder or 'unnamed'}); expected a lock "
                "that the worker shares with this process"
            ) from error


def dump_stacks_on_request() -> None:
    """Dumps the stacks of all threads to standard error on SIGUSR1.

    A worker sends it before it stops a hung trainer.
    """
    faulthandler.register(signal.SIGUSR1, file=_STANDARD_ERROR, all_threads=True)


def leave_the_cores_to_others() -> None:
    """Limits tokenization to one thread, for a process that shares the cores with others."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read at each call


def stay_offline() -> None:
    """Disables model hub downloads. Call it before transformers is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def worker_process() -> int | None:
    """Returns the process id of the worker that started this trainer; None without a worker."""
    pid = os.environ.get("FLANT5_WORKER_PROCESS")
    return None if pid is None else int(pid)


def locks_to_hold() -> tuple[Path, ...]:
    """Returns the locks that the worker shares with this process; empty without a worker."""
    paths = os.environ.get("FLANT5_HELD_LOCKS") or "[]"
    return tuple(map(Path, json.loads(paths)))


def rank() -> int:
    """Returns the rank of this process in the run; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Returns the rank of this process on this machine; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))
