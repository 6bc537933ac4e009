"""Buffer for the newest lines of a full log, to be written when the log is closed.

Imports only the standard library, because the supervisor depends on it.
"""

from collections import deque

END_BYTES = 65_536
"""More than failure diagnosis reads (`worker.causes.traces`)."""


class LogEnd:
    """Holds at most END_BYTES of whole lines."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._num_bytes = 0
        self.num_left_out = 0

    @property
    def lines(self) -> tuple[bytes, ...]:
        return tuple(self._lines)

    def add(self, line: bytes) -> None:
        self._lines.append(line)
        self._num_bytes += len(line)
        while self._num_bytes > END_BYTES:
            self._num_bytes -= len(self._lines.popleft())
            self.num_left_out += 1
