"""A full disk, as callers are told of it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from worker.jobs.errors import StorageFullError


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """Around writes: a full disk or quota becomes StorageFullError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"no room for {what}: {error.strerror}") from error
        raise
