"""Free disk space, and translation of a full disk to StorageFullError."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from worker.jobs.errors import StorageFullError


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """Translates a full disk or quota during writes to StorageFullError."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFullError(f"no disk space for {what}: {error.strerror}") from error
        raise


def is_full(error: OSError) -> bool:
    """Returns True for the errors of a full disk and of an exceeded quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
