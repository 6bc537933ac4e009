"""Room on the disk, and a full one as callers are told of it."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.jobs.errors import StorageFullError


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """Around writes: a full disk or quota becomes StorageFullError."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFullError(f"no room for {what}: {error.strerror}") from error
        raise


def is_full(error: OSError) -> bool:
    """True for a full disk and for a quota that is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def free_bytes(directory: Path) -> int:
    """What may still be written to the disk of `directory`, which need not exist yet."""
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free
