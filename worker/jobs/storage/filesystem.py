"""Durable file writes, which survive a power cut once they return."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path


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
