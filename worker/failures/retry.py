"""Retry policy: which failures of an attempt lead to another attempt."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

from flant5_train.protocol.failure import FailureCode
from worker.failures.evidence import CRASHES


class RetryPolicy(Enum):
    """Consequence of a failed attempt."""

    INFRA_FAILURE = auto()
    """Infrastructure failure: retry, up to the limit of losses without a new checkpoint."""
    ONCE = auto()
    """Unclear whether the machine or the job is at fault: retry once."""
    NEVER = auto()
    """A retry would fail in the same way."""


_RETRIES: Mapping[FailureCode, RetryPolicy] = MappingProxyType(
    {
        FailureCode.WORKER_LOST: RetryPolicy.INFRA_FAILURE,
        FailureCode.KILLED: RetryPolicy.INFRA_FAILURE,
        FailureCode.HOST_OOM: RetryPolicy.ONCE,
        FailureCode.CUDA_OOM: RetryPolicy.NEVER,
        FailureCode.NAN_LOSS: RetryPolicy.NEVER,
        FailureCode.LOSS_EXPLOSION: RetryPolicy.NEVER,
        FailureCode.BAD_DATA: RetryPolicy.NEVER,
        FailureCode.BAD_MODEL: RetryPolicy.NEVER,
        FailureCode.BAD_CONFIG: RetryPolicy.NEVER,
        FailureCode.DISK_FULL: RetryPolicy.NEVER,
        FailureCode.TIMEOUT: RetryPolicy.NEVER,
        FailureCode.INTERNAL: RetryPolicy.NEVER,
    }
)


def policy_for(code: FailureCode, *, killed_by: int | None = None) -> RetryPolicy:
    """Returns the retry for a failure. `killed_by` is the signal behind the code `killed`."""
    if code is FailureCode.KILLED and killed_by in CRASHES:
        return RetryPolicy.ONCE
    return _RETRIES[code]
