"""Lock that allows one `flant5 up` per HOME, including leftover processes of a killed one."""

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
    """Yields the descriptor of the lock. Processes that inherit it hold the lock too.

    Raises CommandError at once if another `flant5 up` is running. If that one was killed, waits up
    to `patience_seconds` for its leftover processes. Without this, two servers would corrupt one
    data directory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + patience_seconds
        while not _try_lock(descriptor):
            owner = _owner(descriptor)
            if owner is not None and Path(f"/proc/{owner}").exists():
                raise CommandError(
                    f"another `flant5 up` (pid {owner}) uses {path.parent}; "
                    "stop it, or choose another --home"
                )
            if time.monotonic() > deadline:
                raise CommandError(
                    f"processes of a previous `flant5 up` on {path.parent} are still running after "
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
    """Returns the pid in the file; None if its owner has not written it yet."""
    text = os.pread(descriptor, 32, 0).decode()
    return int(text) if text.isdecimal() else None
