"""Reading of complete lines from a file that another process appends to."""

from pathlib import Path

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
