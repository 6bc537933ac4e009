"""What an exception that ended a run means, as a failure class."""

import errno

from flant5_train.failure import FailureCode, TrainingError

# A process whose peer was killed sees only its connection break.
_PEER_LOST = ("connection closed by peer", "connection reset by peer", "nccl error", "gloo")
_DISK_FULL = "no space left on device"


def failure_code(error: BaseException) -> FailureCode:
    """The failure class of `error`, by its type first and its text where the type says nothing."""
    text = str(error).lower()
    if isinstance(error, TrainingError):
        return error.code
    # torch.OutOfMemoryError, by name so that a failed import of torch can be diagnosed as well.
    if type(error).__name__ == "OutOfMemoryError":
        return FailureCode.CUDA_OOM
    if isinstance(error, BrokenPipeError):
        # Whoever read this process's output was killed, and this process is next.
        return FailureCode.WORKER_LOST
    if isinstance(error, MemoryError):
        return FailureCode.HOST_OOM
    if getattr(error, "errno", None) == errno.ENOSPC or _DISK_FULL in text:
        return FailureCode.DISK_FULL
    if type(error).__name__ == "DistBackendError" or (
        isinstance(error, RuntimeError) and any(sign in text for sign in _PEER_LOST)
    ):
        return FailureCode.WORKER_LOST
    return FailureCode.INTERNAL
