"""`error.json`: why a run failed, for people and for the service that decides what comes next.

Written once, by the process that failed first; the others find it there and leave it alone.
Its place on the disk is kept free from the start, because the failure may be a full disk. No torch
here: the worker reads this format too.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict

ROOM_BYTES = 65_536
"""Space kept on the disk for `error.json`."""
_MAX_TRACEBACK_CHARACTERS = ROOM_BYTES // 4


def encodable(text: str) -> str:
    """Returns a text with its halves of surrogate pairs as escapes, so that UTF-8 can encode it.

    They come from escapes in JSON files and from file names that are not UTF-8.

    >>> encodable("a\\ud83d")
    'a\\\\ud83d'
    """
    return text.encode("utf-8", "backslashreplace").decode()


class FailureCode(StrEnum):
    """Failure classes; the service decides by them whether an attempt is worth repeating."""

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
    """A failure whose cause is known; its message is written for the person who sent the job."""

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
        """Write `path` unless another process was first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _room(path).unlink(missing_ok=True)
        # With the rank, because processes of two nodes may have the same id.
        draft = path.with_name(f"{path.name}.{self.rank}-{os.getpid()}")
        try:
            draft.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
            os.link(draft, path)
        except FileExistsError:
            return
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def room_for_failure(path: Path) -> Iterator[None]:
    """Keeps room on the disk for `path`, which `write_first` takes and a good end gives back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _room(path).write_bytes(bytes(ROOM_BYTES))
    yield
    _room(path).unlink(missing_ok=True)


def _room(path: Path) -> Path:
    return path.with_name(f"{path.name}.room")


def read_failure(path: Path) -> Failure | None:
    """The failure in `path`, or None when the run left none. Raises ValidationError when the file
    is not a failure."""
    try:
        return Failure.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
