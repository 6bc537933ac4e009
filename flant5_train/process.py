"""What this process is to its parent and to its fellow processes."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


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


def rank() -> int:
    """This process's number among all of the run; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """This process's number on this machine; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))
