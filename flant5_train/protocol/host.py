"""Calls to the operating system that the service and the trainer share. Standard library only."""

import ctypes
import os
import shutil
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)  # at import: a forked child must not load a library


def end_with(parent: int, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Makes the kernel send `by` to this process when the thread of `parent` that started it ends.

    Kills this process at once if the parent has ended already. Raises OSError.
    """
    _prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Makes orphaned descendants children of this process instead of init. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def free_bytes(directory: Path) -> int:
    """Returns the bytes this user can write to the disk of `directory`, which may not exist yet."""
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}, {value}): {os.strerror(error)}")
