"""Operator-managed configuration file, reloaded when it changes: accounts, addresses, keys."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Content = TypeVar("Content")


class OperatorsFile(Generic[Content]):
    """Reloads the file when it changes. An invalid file leaves the last valid content in place."""

    def __init__(self, path: Path, read: Callable[[Path], Content]) -> None:
        """Raises the errors of `read` if the file is invalid."""
        self._path = path
        self._read = read
        # Before reading: the next `refresh` then detects a change made in between.
        self._state = self._look()
        self.content = read(path)

    def refresh(self) -> bool:
        """Returns True if the content has changed.

        Raises the errors of `read`, once per change to an invalid file.
        """
        state = self._look()
        if state == self._state:
            return False
        self._state = state
        before, self.content = self.content, self._read(self._path)
        return before != self.content

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
