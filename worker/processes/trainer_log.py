"""Writes `train.log` (`worker.jobs.log_format`).

No imports beyond the standard library, because the supervisor lives on this.
"""

import codecs
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from worker.jobs.log_format import Stream, format_line
from worker.jobs.redaction import redacted

MAX_CHARACTERS = 8192
"""A longer line is cut into lines of this length."""

# Terminal colours and cursor moves as a whole, then every other control character but the tab.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LINE_ENDS = re.compile(r"[\r\n]")


class LineSplitter:
    """Makes lines out of the bytes of one stream; a progress bar's carriage return ends a line
    too."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes, *, is_last: bool = False) -> list[str]:
        """The lines that `data` completes; at the end of the stream also the one left over."""
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
    """Appends to `train.log`. A full disk costs lines, not the training: how many is said in the
    log as soon as there is room again."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._num_lost = 0
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # a predecessor was killed while writing

    def append(self, stream: Stream, lines: Sequence[str]) -> None:
        at = datetime.now(UTC)
        new = b"".join(format_line(line, stream=stream, at=at) for line in lines)
        if self._num_lost:
            note = f"[{self._num_lost} lines before this one were lost: the disk was full]"
            new = format_line(note, stream="stderr", at=at) + new
        try:
            written = os.write(self._descriptor, new)
            if written < len(new):
                os.write(self._descriptor, new[written:])
        except OSError:
            self._num_lost += len(lines)
        else:
            self._num_lost = 0

    def close(self) -> None:
        os.close(self._descriptor)


def _pieces(line: str) -> list[str]:
    return [line[at : at + MAX_CHARACTERS] for at in range(0, len(line), MAX_CHARACTERS)]
