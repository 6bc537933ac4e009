"""Retry policy: maps failure codes to retries."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

from flant5_train.protocol.failure import FailureCode
from worker.failures.evidence import CRASHES


class Retry(Enum):
    """Consequence of a failed attempt."""

    LOSS = auto()
    """Infrastructure failure: retry, up to the limit of losses without a new checkpoint."""
    ONCE = auto()
    """Unclear whether the machine or the job is at fault: retry once."""
    NEVER = auto()
    """A retry would fail in the same way."""


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
    """Returns the retry for a failure. `killed_by` is the signal behind the code `killed`."""
    if code is FailureCode.KILLED and killed_by in CRASHES:
        return Retry.ONCE
    return _RETRIES[code]
