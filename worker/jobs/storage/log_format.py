"""The format of `train.log`: each line of the trainer's output with its time and stream.

    2026-11-24T03:52:10.317Z stderr   3%|▎         | 2/75 [00:01<00:40,  1.81it/s]

No imports beyond the standard library, because the supervisor needs this module.
"""

import re
from datetime import UTC, datetime
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
