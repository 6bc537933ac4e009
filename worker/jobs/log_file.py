"""Lines of `train.log` that the store has dropped, by the cursors under which it had them.

A line's id is `<where it ends in the file, in bytes>-<its number>`, such as 73129-812: the next
line is found without reading what is before it.
"""

from pathlib import Path

from worker.jobs.events import LogLine
from worker.jobs.lines import whole_lines
from worker.jobs.log_format import parse_line


def position_of(line_id: str | None) -> tuple[int, int]:
    """Where a line ends, and its number; of None the beginning of the log."""
    if line_id is None:
        return 0, 0
    offset, seq = map(int, line_id.split("-"))
    return offset, seq


def lines_after(path: Path, line_id: str | None, *, limit: int) -> list[LogLine]:
    """At most `limit` lines after the line `line_id`; none when the file is gone.

    Raises ValueError when no line ends there.
    """
    offset, seq = position_of(line_id)
    if not path.exists():
        return []
    if not _is_line_end(path, offset):
        raise ValueError(f"no line of {path} ends at byte {offset}")
    raw_lines, _ = whole_lines(path, offset, max_lines=limit)
    # Of a line that lost its head to a crash: when the file was written at last.
    at = path.stat().st_mtime
    lines = []
    for raw in raw_lines:
        offset, seq = offset + len(raw), seq + 1
        told_at, stream, text = parse_line(raw)
        at = at if told_at is None else told_at
        lines.append(
            LogLine(id=f"{offset}-{seq}", seq=seq, created_at=at, stream=stream, line=text)
        )
    return lines


def _is_line_end(path: Path, offset: int) -> bool:
    if offset == 0:
        return True
    with path.open("rb") as file:
        file.seek(offset - 1)
        return file.read(1) == b"\n"
