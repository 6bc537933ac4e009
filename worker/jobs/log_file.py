"""Reads lines of `train.log` that the store has dropped, by the store's cursors.

A line's id is `<byte offset of its end in the file>-<its number>`, such as 73129-812. The next line
is found without reading the lines before it.
"""

from pathlib import Path

from worker.jobs.events import LogLine
from worker.jobs.lines import whole_lines
from worker.jobs.storage.log_format import parse_line


def position_of(line_id: str | None) -> tuple[int, int]:
    """Returns the end offset of a line and its number; for None, those of the log's beginning."""
    if line_id is None:
        return 0, 0
    offset, seq = map(int, line_id.split("-"))
    return offset, seq


def lines_after(path: Path, line_id: str | None, *, limit: int) -> list[LogLine]:
    """Returns at most `limit` lines after the line `line_id`; empty if the file is gone.

    Raises ValueError if no line ends at that offset.
    """
    offset, seq = position_of(line_id)
    if not path.exists():
        return []
    if not _is_line_end(path, offset):
        raise ValueError(f"no line of {path} ends at byte {offset}")
    raw_lines, _ = whole_lines(path, offset, max_lines=limit)
    # For a line whose beginning was lost in a crash: the file's last modification.
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
