"""Which failures are worth another attempt."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

from flant5_train.failure import FailureCode
from worker.causes.torchrun_summary import CRASHES


class Retry(Enum):
    """What follows a failed attempt."""

    LOSS = auto()
    """The machine's fault: again, up to a limit on losses without a new checkpoint in between."""
    ONCE = auto()
    """Maybe the machine's, maybe the job's: again, but once."""
    NEVER = auto()
    """It would fail the same way."""


_RETRIES: Mapping[FailureCode, Retry] = MappingProxyType(
    {
        FailureCode.WORKER_LOST: Retry.LOSS,
        FailureCode.KILLED: Retry.LOSS,
        FailureCode.HOST_OOM: Retry.ONCE,
        FailureCode.CUDA_OOM: Retry.NEVER,
        FailureCode.NAN_LOSS: Retry.NEVER,
        FailureCode.LOSS_EXPLOSION: Retry.NEVER,
        FailureCode.BAD_DATA: Retry.NEVER,
        FailureCode.BAD_MODEL: Retry.NEVER,
        FailureCode.BAD_CONFIG: Retry.NEVER,
        FailureCode.DISK_FULL: Retry.NEVER,
        FailureCode.TIMEOUT: Retry.NEVER,
        FailureCode.INTERNAL: Retry.NEVER,
    }
)


def retry_after(code: FailureCode, *, killed_by: int | None = None) -> Retry:
    """The policy; `killed_by` is the signal that ended a process, for `killed`."""
    if code is FailureCode.KILLED and killed_by in CRASHES:
        return Retry.ONCE
    return _RETRIES[code]
