"""Handling of a full disk: removes partial output, and raises an error that names the file."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flant5_train.protocol.failure import FailureCode, TrainingError, failure_code
from flant5_train.protocol.host import free_bytes


def _nothing() -> None:
    """Undo callback that does nothing."""


@contextmanager
def disk_full_context(
    what: str, directory: Path, *, undo: Callable[[], object] = _nothing
) -> Iterator[None]:
    """Guards code that writes `what` into `directory`.

    If the disk is full, calls `undo` to remove partial output and raises TrainingError. Any other
    error passes.
    """
    try:
        yield
    except Exception as error:
        if failure_code(error) is not FailureCode.DISK_FULL:
            raise
        full_error = disk_full(
            what, directory, error
        )  # counts the free bytes, so call it before `undo`
        _close_what_it_holds(error)
        undo()
        raise full_error from (None if full_error is error else error)


def _close_what_it_holds(error: BaseException | None) -> None:
    """Closes files that torch.save leaves open in the frames of the traceback.

    Without this, a removed file would keep its space.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def disk_full(what: str, directory: Path, error: Exception) -> TrainingError:
    """Returns `error` as a TrainingError for users; a TrainingError is returned unchanged.

    "the disk is full: checkpoint-8 could not be written to /runs/a, where 4096 bytes are free
    ([Errno 28] No space left on device)"
    """
    if isinstance(error, TrainingError):
        return error
    full_error = TrainingError(
        FailureCode.DISK_FULL,
        f"the disk is full: {what} could not be written to {directory}, where"
        f" {free_bytes(directory)} bytes are free ({error}). Files completed before are intact",
    )
    full_error.__cause__ = error
    return full_error
