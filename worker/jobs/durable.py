"""Writes that survive a power cut once they return."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path


class TooManyBytesError(Exception):
    """There was more to write than allowed."""


def write_chunks(path: Path, chunks: Iterable[bytes], *, max_bytes: int) -> int:
    """Write a new file; the number of its bytes. Raises TooManyBytesError."""
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
    """Write a file that appears under its name when it is whole; the last of several writers
    wins."""
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
