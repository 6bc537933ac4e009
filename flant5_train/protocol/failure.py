"""`error.json`: the cause of a failed run, for users and for the service's retry policy.

The process that fails first writes it; the others keep that file. Disk space is reserved for it
from the start, because the failure may be a full disk. Exceptions and error texts are classified by
failure class.

No torch here: the worker reads this format, and classifies the output of processes that could not
write the file.
"""

import errno
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict

ROOM_BYTES = 65_536
"""Disk space reserved for `error.json`."""
_MAX_TRACEBACK_CHARACTERS = ROOM_BYTES // 4


def encodable(text: str) -> str:
    """Returns a text with lone surrogates escaped, which UTF-8 can't encode.

    Lone surrogates come from escapes in JSON files and from file names that are not UTF-8.

    >>> encodable("a\\ud83d")
    'a\\\\ud83d'
    """
    return text.encode("utf-8", "backslashreplace").decode()


class FailureCode(StrEnum):
    """Failure classes, which decide if the service retries an attempt."""

    BAD_DATA = "bad_data"
    BAD_MODEL = "bad_model"
    BAD_CONFIG = "bad_config"
    NAN_LOSS = "nan_loss"
    LOSS_EXPLOSION = "loss_explosion"
    CUDA_OOM = "cuda_oom"
    HOST_OOM = "host_oom"
    DISK_FULL = "disk_full"
    WORKER_LOST = "worker_lost"
    TIMEOUT = "timeout"
    KILLED = "killed"
    INTERNAL = "internal"


class TrainingError(Exception):
    """A failure with a known cause. The message addresses the user who submitted the job."""

    def __init__(self, code: FailureCode, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Failure(BaseModel):
    """The content of `error.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: FailureCode
    message: Annotated[str, AfterValidator(encodable)]
    param: str | None = None
    rank: int = 0
    traceback: Annotated[str, AfterValidator(encodable)] = ""

    @classmethod
    def of(cls, error: BaseException, *, code: FailureCode, rank: int) -> Self:
        return cls(
            code=code,
            message=str(error) or type(error).__name__,
            param=error.param if isinstance(error, TrainingError) else None,
            rank=rank,
            traceback="".join(traceback.format_exception(error))[-_MAX_TRACEBACK_CHARACTERS:],
        )

    def write_first(self, path: Path) -> None:
        """Writes `path` unless another process did so first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _room(path).unlink(missing_ok=True)
        # With the rank, because processes of two nodes may have the same process id.
        draft = path.with_name(f"{path.name}.{self.rank}-{os.getpid()}")
        try:
            draft.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
            os.link(draft, path)
        except FileExistsError:
            return
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def reserve_failure_space(path: Path) -> Iterator[None]:
    """Reserves disk space for `path`. `write_first` uses it; a successful end frees it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _room(path).write_bytes(bytes(ROOM_BYTES))
    yield
    _room(path).unlink(missing_ok=True)


def _room(path: Path) -> Path:
    return path.with_name(f"{path.name}.room")


def read_failure(path: Path) -> Failure | None:
    """Returns the failure in `path`, or None if there is no such file.

    Raises ValidationError if the file is not a failure.
    """
    try:
        return Failure.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


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
