"""Classifies exceptions and error text by failure class.

No torch here: the worker classifies the output of processes that could not write `error.json`.
"""

import errno
import re

from flant5_train.protocol.failure import FailureCode, TrainingError

_ERRNO = {
    errno.ENOSPC: FailureCode.DISK_FULL,
    errno.EDQUOT: FailureCode.DISK_FULL,
    errno.ENOMEM: FailureCode.HOST_OOM,
    # The reader of this process's output was killed, and this process is next.
    errno.EPIPE: FailureCode.WORKER_LOST,
}
_SIGNS = (
    (
        FailureCode.DISK_FULL,
        r"no space left on device|disk quota exceeded"
        # torch.save; numpy: "1048576 requested and 131056 written".
        r"|pytorchstreamwriter failed|unexpected pos \d+ vs \d+|basic_ios::clear"
        r"|\d+ requested and \d+ written",
    ),
    (
        FailureCode.CUDA_OOM,
        # NCCL: "Cuda failure 2 'out of memory'".
        r"\bcuda(?: error:| failure \d+)? '?out of memory|cublas_status_alloc_failed",
    ),
    (FailureCode.HOST_OOM, r"can't allocate memory|cannot allocate memory|bad_alloc"),
    (
        FailureCode.WORKER_LOST,
        # If a peer is killed, a process sees only the broken connection.
        r"connection closed by peer|connection reset by peer|\bgloo\b|\bnccl error"
        # Two launchers on one machine.
        r"|eaddrinuse|address already in use|\brendezvous\w*(?:timeout|connection)\w*",
    ),
)
_MACHINE = re.compile(
    # The GPU, its driver or the bus: another attempt, maybe on another machine, can succeed.
    r"uncorrectable ecc|unspecified launch failure|\bcuda driver|\bcuda-capable device"
    r"|device not ready|\bxid\b|fallen off the bus|unable to determine the device handle"
    r"|nvml: driver/library version mismatch"
    r"|watchdog caught collective operation timeout|nccl communicator was aborted"
)
_PATTERNS = tuple((code, re.compile(signs)) for code, signs in _SIGNS)


def failure_code(error: BaseException) -> FailureCode:
    """Returns the failure class of `error`, by its type first, then by its text."""
    if isinstance(error, TrainingError):
        return error.code
    # By name: a failed import of torch must be diagnosed too.
    names = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in names:
        return FailureCode.CUDA_OOM
    if "DistError" in names:
        return FailureCode.WORKER_LOST
    if isinstance(error, MemoryError):
        return FailureCode.HOST_OOM
    if isinstance(error, OSError) and error.errno in _ERRNO:
        return _ERRNO[error.errno]
    if isinstance(error, (RuntimeError, OSError)) or "SafetensorError" in names:
        return code_of_text(str(error)) or FailureCode.INTERNAL
    return FailureCode.INTERNAL


def code_of_text(text: str) -> FailureCode | None:
    """Returns the failure class that the text of an error indicates, or None."""
    lower = text.lower()
    found = next((code for code, pattern in _PATTERNS if pattern.search(lower)), None)
    return FailureCode.WORKER_LOST if found is None and blames_machine(text) else found


def blames_machine(text: str) -> bool:
    """Returns True if `text` indicates a fault of the hardware or its driver."""
    return _MACHINE.search(text.lower()) is not None
