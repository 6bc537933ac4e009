"""Shows new lines of log files, prefixed with the process name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES_AT_A_TIME = 2**16


@dataclass(slots=True)
class _Place:
    """Read position in a log file."""

    name: str
    path: Path
    offset: int


class LogView:
    """Tails several log files. With pipes instead, a stopped terminal would block the processes."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._places: list[_Place] = []

    def add(self, name: str, path: Path) -> None:
        """Shows `path` from its current end."""
        offset = path.stat().st_size if path.exists() else 0
        self._places.append(_Place(name, path, offset))

    def show_new_lines(self) -> None:
        for place in self._places:
            for line in _new_lines(place):
                self._say(f"{place.name:>6} | {line}")


def _new_lines(place: _Place) -> list[str]:
    """Returns the complete lines after `place` and advances it."""
    if not place.path.exists():
        return []
    if place.path.stat().st_size < place.offset:
        place.offset = 0  # a new file of the same name
    with place.path.open("rb") as file:
        file.seek(place.offset)
        data = file.read(_MAX_BYTES_AT_A_TIME)
    whole = data.rfind(b"\n") + 1
    if not whole and len(data) == _MAX_BYTES_AT_A_TIME:
        whole = len(data)  # an endless line must not block the following ones
    place.offset += whole
    return data[:whole].decode(errors="replace").splitlines()
