"""A full disk while something is being written: room is made, and the error says what and where."""

import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flant5_train.diagnosis import failure_code
from flant5_train.failure import FailureCode, TrainingError


def _nothing() -> None:
    """There is nothing to undo."""


@contextmanager
def writing(what: str, directory: Path, *, undo: Callable[[], object] = _nothing) -> Iterator[None]:
    """Around code that writes `what` into `directory`. When the disk is full, `undo` removes what
    was written so far and a TrainingError says so; any other error passes."""
    try:
        yield
    except Exception as error:
        if failure_code(error) is not FailureCode.DISK_FULL:
            raise
        told = disk_full(what, directory, error)  # counts the free bytes, so before the undoing
        _close_what_it_holds(error)
        undo()
        raise told from (None if told is error else error)


def _close_what_it_holds(error: BaseException | None) -> None:
    """torch.save leaves its file open in the frames of the traceback: the space of a file that is
    removed would stay taken."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def disk_full(what: str, directory: Path, error: Exception) -> TrainingError:
    """What `error` says of a full disk, in a sentence for people; one that is told already stays
    as it is.

    "the disk is full: checkpoint-8 could not be written to /runs/a, where 4096 bytes are free
    ([Errno 28] No space left on device)"
    """
    if isinstance(error, TrainingError):
        return error
    told = TrainingError(
        FailureCode.DISK_FULL,
        f"the disk is full: {what} could not be written to {directory}, where"
        f" {free_bytes(directory)} bytes are free ({error}). What was complete before is unharmed",
    )
    told.__cause__ = error
    return told


def free_bytes(directory: Path) -> int:
    """What this user may still write to the disk of `directory`, which need not exist yet."""
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free
