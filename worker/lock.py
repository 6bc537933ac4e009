"""Locks on files, freed by the kernel when the last process that holds them is gone."""

import fcntl
import os
import time
from pathlib import Path

_RETRY_SECONDS = 0.02


class LockedError(Exception):
    """Somebody else holds the lock; the message names the file."""


def take_lock(path: Path, *, patience_seconds: float) -> int:
    """A descriptor that holds the lock until it and all its inherited copies are closed.

    Raises LockedError when somebody holds it for longer than `patience_seconds`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise LockedError(f"{path} is locked by another process") from error
            time.sleep(_RETRY_SECONDS)
        else:
            return descriptor
