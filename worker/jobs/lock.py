"""Locks on files, freed by the kernel when the last process that holds them is gone.

A lock that is taken to be shared says in its file, in plain text, who took it last:

    worker gpu-0, process 4711, job ftjob-1
"""

import fcntl
import os
import time
from pathlib import Path

_RETRY_SECONDS = 0.02
_MAX_HOLDER_BYTES = 1024


class LockedError(Exception):
    """Somebody else holds the lock; the message names the file, and the holder if known."""


def take_lock(path: Path, *, patience_seconds: float) -> int:
    """A descriptor that holds the lock until it and all its inherited copies are closed.

    Raises LockedError when somebody holds it for longer than `patience_seconds`.
    """
    return _take(path, (fcntl.LOCK_EX,), patience_seconds=patience_seconds)


def take_lock_to_share(path: Path, *, holder: str, patience_seconds: float) -> int:
    """As `take_lock`; but the processes that we start can hold it too, by a shared lock on the
    same file (`flant5_train.process.hold_locks`): then nobody takes it before all have let go.

    `holder` goes into the file, see `holder_text`.
    """
    modes = (fcntl.LOCK_EX, fcntl.LOCK_SH)
    descriptor = _take(path, modes, patience_seconds=patience_seconds)
    name_holder(descriptor, holder)
    return descriptor


def share_lock(path: Path, *, patience_seconds: float) -> int:
    """A descriptor that holds a lock together with those who share it already.

    Raises LockedError when somebody holds it alone for longer than `patience_seconds`.
    """
    return _take(path, (fcntl.LOCK_SH,), patience_seconds=patience_seconds)


def holder_text(worker_name: str, *, job_id: str = "") -> str:
    """How this process is named in the locks that it takes."""
    job = f", job {job_id}" if job_id else ""
    return f"worker {worker_name}, process {os.getpid()}{job}"


def name_holder(descriptor: int, holder: str) -> None:
    """Writes who holds the lock; only the process that took it may."""
    text = f"{holder}\n".encode()
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def _take(path: Path, modes: tuple[int, ...], *, patience_seconds: float) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + patience_seconds
    while not _try_lock(descriptor, modes):
        if time.monotonic() >= deadline:
            holder = os.pread(descriptor, _MAX_HOLDER_BYTES, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            by = f"{path} is locked by another process"
            raise LockedError(f"{by} ({holder})" if holder else by)
        time.sleep(_RETRY_SECONDS)
    return descriptor


def _try_lock(descriptor: int, modes: tuple[int, ...]) -> bool:
    """One mode after the other. flock(2) changes a lock's mode by giving it up and taking it anew:
    somebody may come in between, and then nothing is held."""
    try:
        for mode in modes:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
