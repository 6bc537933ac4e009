"""The format of `train.log`: each line of the trainer's output with its time and stream.

    2026-11-24T03:52:10.317Z stderr   3%|▎         | 2/75 [00:01<00:40,  1.81it/s]

`whole_lines` reads the complete lines of a file that another process appends to. No imports beyond
the standard library, because the supervisor needs this module.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Stream = Literal["stdout", "stderr"]

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (stdout|stderr) (.*)", re.DOTALL)


def format_line(line: str, *, stream: Stream, at: datetime) -> bytes:
    """
    >>> format_line("hi", stream="stdout", at=datetime(2026, 11, 24, 3, 52, tzinfo=UTC))
    b'2026-11-24T03:52:00.000Z stdout hi\\n'
    """
    instant = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
    return f"{instant} {stream} {line}\n".encode()


def parse_line(line: bytes) -> tuple[float | None, Stream, str]:
    """Returns Unix seconds, stream and text. A line without its beginning has no time and counts
    as stdout."""
    text = line.decode("utf-8", "replace").removesuffix("\n")
    found = _LINE.fullmatch(text)
    if found is None:
        return None, "stdout", text
    at = datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return at.timestamp(), "stdout" if found[2] == "stdout" else "stderr", found[3]


_CHUNK_BYTES = 32_768


def whole_lines(
    path: Path, offset: int, *, max_bytes: int | None = None, max_lines: int | None = None
) -> tuple[list[bytes], int]:
    """Returns the complete lines after `offset`, and the offset after the last of them.

    A last line without its line end is still being written and is left out. Reading stops after
    the line that reaches `max_bytes`, and after `max_lines`.
    """
    lines: list[bytes] = []
    end = offset
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return lines, end
    with file:
        file.seek(offset)
        while (max_bytes is None or end - offset < max_bytes) and (
            max_lines is None or len(lines) < max_lines
        ):
            line = file.readline()
            if not line.endswith(b"\n"):
                break
            lines.append(line)
            end += len(line)
    return lines, end


def whole_size(path: Path) -> int:
    """Returns the size up to and including the last line end."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            while size > 0:
                begin = max(0, size - _CHUNK_BYTES)
                file.seek(begin)
                end = file.read(size - begin).rfind(b"\n")
                if end >= 0:
                    return begin + end + 1
                size = begin
    except FileNotFoundError:
        return 0
    return 0
