"""File system access: durable writes, free disk space, damaged files, and sortable ids.

Written files survive a power cut once a write returns. `translate_disk_full` translates a full disk
to StorageFullError. An id has a prefix, 13 digits that grow with time, and 13 random ones:

    file-1htq6tsrx746sdqtzynznj5vsg
"""

import errno
import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from worker.jobs.errors import StorageFullError


class TooManyBytesError(Exception):
    """The data is larger than the limit."""


def write_chunks(path: Path, chunks: Iterable[bytes], *, max_bytes: int) -> int:
    """Writes a new file and returns its size in bytes. Raises TooManyBytesError."""
    num_bytes = 0
    with path.open("xb") as file:
        for chunk in chunks:
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                raise TooManyBytesError(f"more than {max_bytes} bytes for {path}")
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return num_bytes


def write_whole(path: Path, text: str) -> None:
    """Writes a file atomically; the last of several writers wins."""
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translate_disk_full(what: str) -> Iterator[None]:
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


class MalformedFileError(ValueError):
    """The file does not have the expected content; the message names file, field and problem."""

    def __init__(self, path: Path, error: ValidationError) -> None:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        super().__init__(f"{path}: {f'{place}: ' if place else ''}{first['msg']}")


_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_NUM_DIGITS = 13


class SortableId:
    """The ids of one type of object.

    >>> upload_ids = SortableId("upload_")
    >>> first, second = upload_ids.new(), upload_ids.new()
    >>> first < second, upload_ids.matches(first), upload_ids.matches("upload_1")
    (True, True, False)
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._pattern = re.compile(rf"{re.escape(prefix)}[{_DIGITS}]{{{2 * _NUM_DIGITS}}}")

    def matches(self, text: str) -> bool:
        """Returns True for a well-formed id, which is safe as a file name."""
        return self._pattern.fullmatch(text) is not None

    def new(self) -> str:
        noise = (secrets.choice(_DIGITS) for _ in range(_NUM_DIGITS))
        return self._prefix + _written(time.time_ns()) + "".join(noise)

    def of(self, name: str, *, at_seconds: float) -> str:
        """Returns the id derived from a name and an instant of millisecond resolution."""
        digest = hashlib.sha256(name.encode()).digest()
        noise = _written(int.from_bytes(digest[:9], "big"))
        return self._prefix + _written(round(at_seconds * 1000) * 10**6) + noise


def _written(number: int) -> str:
    """Returns the last 13 digits of a number."""
    digits = []
    for _ in range(_NUM_DIGITS):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
