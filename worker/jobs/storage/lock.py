"""File locks, freed by the kernel when their last holder exits.

A shared lock's file names its last holder in plain text:

    worker gpu-0, process 4711, job ftjob-1
"""

import fcntl
import os
import time
from pathlib import Path

_RETRY_SECONDS = 0.02
_MAX_HOLDER_BYTES = 1024


class LockedError(Exception):
    """Another process holds the lock; the message names the file, and the holder if known."""


def take_lock(path: Path, *, patience_seconds: float) -> int:
    """Returns a descriptor that holds the lock until it and all its inherited copies are closed.

    Raises LockedError if another process holds it for longer than `patience_seconds`.
    """
    return _take(path, (fcntl.LOCK_EX,), patience_seconds=patience_seconds)


def take_lock_to_share(path: Path, *, holder: str, patience_seconds: float) -> int:
    """As `take_lock`, but child processes can hold the lock too, with a shared lock on the same
    file (`flant5_train.process.hold_locks`). The lock is free once all have released it.

    Writes `holder` into the file, see `holder_text`.
    """
    modes = (fcntl.LOCK_EX, fcntl.LOCK_SH)
    descriptor = _take(path, modes, patience_seconds=patience_seconds)
    name_holder(descriptor, holder)
    return descriptor


def share_lock(path: Path, *, patience_seconds: float) -> int:
    """Returns a descriptor that holds a lock together with its other shared holders.

    Raises LockedError if a process holds it exclusively for longer than `patience_seconds`.
    """
    return _take(path, (fcntl.LOCK_SH,), patience_seconds=patience_seconds)


def holder_text(worker_name: str, *, job_id: str = "") -> str:
    """Returns the name of this process in the locks that it holds."""
    job = f", job {job_id}" if job_id else ""
    return f"worker {worker_name}, process {os.getpid()}{job}"


def name_holder(descriptor: int, holder: str) -> None:
    """Writes the holder's name into the lock file; only the process that took the lock may."""
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
    """Takes one mode after the other. flock(2) changes a lock's mode by releasing and retaking it:
    if another process takes it in between, no lock is held."""
    try:
        for mode in modes:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
