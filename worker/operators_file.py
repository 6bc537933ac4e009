"""A file in which the operator says what a process may not have from anywhere else: accounts,
addresses, keys."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Content = TypeVar("Content")


class OperatorsFile(Generic[Content]):
    """Reads the file again when it has changed; the last good one counts until it is mended."""

    def __init__(self, path: Path, read: Callable[[Path], Content]) -> None:
        """Raises what `read` does for a file that can't be used."""
        self._path = path
        self._read = read
        # Looked at first: a change that comes in between is found by the next look.
        self._state = self._look()
        self.content = read(path)

    def refresh(self) -> bool:
        """Whether it says something else now. Raises what `read` does, once for each change of a
        file that can't be used."""
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
