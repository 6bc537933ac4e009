"""Writes `train.log` (`worker.jobs.storage.log_format`).

If the log is full, `LogFollower` holds the newest lines, which are written when the log is closed.
Imports only the standard library, because the supervisor depends on it.
"""

import codecs
import math
import os
import re
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from worker.jobs.logging import redacted
from worker.jobs.storage.log_format import Stream, format_line

END_BYTES = 65_536
"""More than failure diagnosis reads (`worker.failures.evidence`)."""


class LogTail:
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


MAX_CHARACTERS = 8192
"""Longer lines are split into lines of this length."""

_HELD_BACK = "from now on, only the last lines are kept and are written when the attempt ends"

# Complete terminal sequences (ECMA-48), then every other control character except tab. An
# unterminated control string loses only its introducer: the rest may be text.
_CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves
    # OSC, DCS, SOS, PM, APC: titles, links, pictures
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"  # character sets, resets, saved cursors
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
_LINE_ENDS = re.compile(r"[\r\n]")


class LineSplitter:
    """Splits the bytes of one stream into lines. A carriage return (progress bars) ends a line."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes, *, is_last: bool = False) -> list[str]:
        """Returns the lines that `data` completes, at the end of the stream also the rest."""
        *lines, rest = _LINE_ENDS.split(self._rest + self._decoder.decode(data, is_last))
        if is_last:
            lines.append(rest)
            rest = ""
        while len(rest) >= MAX_CHARACTERS:
            lines.append(rest[:MAX_CHARACTERS])
            rest = rest[MAX_CHARACTERS:]
        self._rest = rest
        plain = (redacted(_CONTROL.sub("", line).rstrip()) for line in lines)
        return [piece for line in plain for piece in _pieces(line)]


class TrainerLog:
    """Appends to `train.log`. On a full disk lines are dropped, but training continues; the log
    states their number once there is space again.

    After `max_bytes` (0: no limit), only the newest lines are kept and are written on `close`.
    Without this, a run that prints endlessly would fill the disk.
    """

    def __init__(self, path: Path, *, max_bytes: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._num_lost = 0
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        self._max_bytes = max_bytes
        self._room_bytes = max_bytes - size if max_bytes else math.inf
        self._end: LogTail | None = None
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # an earlier process was killed while writing

    def append(self, stream: Stream, lines: Sequence[str]) -> None:
        at = datetime.now(UTC)
        new = [format_line(line, stream=stream, at=at) for line in lines]
        if self._end is None and sum(map(len, new)) > self._room_bytes:
            self._end = LogTail()
            self._write([_note(f"the log has reached {self._max_bytes:,} bytes: {_HELD_BACK}")])
        if self._end is None:
            self._room_bytes -= sum(map(len, new))
            self._write(new)
            return
        for line in new:
            self._end.add(line)

    def close(self) -> None:
        """Writes the buffered last lines of a full log and closes the file."""
        if self._end is not None:
            self._write([_note(f"{self._end.num_left_out} lines were left out"), *self._end.lines])
        os.close(self._descriptor)

    def _write(self, lines: Sequence[bytes]) -> None:
        new = b"".join(lines)
        if self._num_lost:
            new = (
                _note(f"{self._num_lost} lines before this one were lost: the disk was full") + new
            )
        try:
            written = os.write(self._descriptor, new)
            if written < len(new):
                os.write(self._descriptor, new[written:])
        except OSError:
            self._num_lost += len(lines)
        else:
            self._num_lost = 0


def _note(text: str) -> bytes:
    """Formats a line of the supervisor itself."""
    return format_line(f"[{text}]", stream="stderr", at=datetime.now(UTC))


def _pieces(line: str) -> list[str]:
    return [line[at : at + MAX_CHARACTERS] for at in range(0, len(line), MAX_CHARACTERS)]
