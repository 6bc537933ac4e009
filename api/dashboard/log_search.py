"""Text search in a whole `train.log`."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

MAX_FOUND = 300
_MAX_LINE = 2000


@dataclass(frozen=True, slots=True)
class LogMatches:
    """The last lines that contain the text."""

    num_found: int
    lines: tuple[str, ...]
    """Lines with their numbers, as `12: text`."""


def search_log(path: Path, words: str) -> LogMatches:
    """Searches case-insensitively; returns no lines if there is no log."""
    wanted, num_found = words.lower().encode(), 0
    last: deque[str] = deque(maxlen=MAX_FOUND)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if wanted in line.lower():
                    num_found += 1
                    text = line[:_MAX_LINE].decode(errors="replace").rstrip("\r\n")
                    last.append(f"{number}: {text}")
    except FileNotFoundError:
        return LogMatches(0, ())
    return LogMatches(num_found, tuple(last))
