"""One `flant5 up` per HOME, also while the processes of a killed one are still ending."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.cli.errors import CommandError

_POLL_SECONDS = 0.1


@contextmanager
def locked(path: Path, *, patience_seconds: float) -> Iterator[int]:
    """A descriptor that holds the lock; processes that inherit it hold the lock too.

    Raises CommandError at once when another `flant5 up` runs. When that one was killed, waits up
    to `patience_seconds` for the processes it leaves: two servers on one data directory would
    destroy it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + patience_seconds
        while not _try_lock(descriptor):
            owner = _owner(descriptor)
            if owner is not None and Path(f"/proc/{owner}").exists():
                raise CommandError(
                    f"another `flant5 up` (pid {owner}) runs on {path.parent}; "
                    "stop it, or take another --home"
                )
            if time.monotonic() > deadline:
                raise CommandError(
                    f"processes of an earlier `flant5 up` on {path.parent} have not ended after "
                    f"{patience_seconds:g} s (`fuser {path}` shows them)"
                )
            time.sleep(_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(descriptor: int) -> int | None:
    """The pid in the file; None when its owner has not written it yet."""
    text = os.pread(descriptor, 32, 0).decode()
    return int(text) if text.isdecimal() else None
