"""Shows what is appended to log files, each line with the name of its process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES_AT_A_TIME = 2**16


@dataclass(slots=True)
class _Place:
    """How far a file has been shown."""

    name: str
    path: Path
    offset: int


class LogView:
    """The new lines of several files. They are read from the files and not from pipes, so that a
    terminal that stands still stops no process."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._places: list[_Place] = []

    def add(self, name: str, path: Path) -> None:
        """Show `path` from its present end."""
        offset = path.stat().st_size if path.exists() else 0
        self._places.append(_Place(name, path, offset))

    def show_new_lines(self) -> None:
        for place in self._places:
            for line in _new_lines(place):
                self._say(f"{place.name:>6} | {line}")


def _new_lines(place: _Place) -> list[str]:
    """The whole lines after the place, which moves behind them."""
    if not place.path.exists():
        return []
    if place.path.stat().st_size < place.offset:
        place.offset = 0  # a new file of the same name
    with place.path.open("rb") as file:
        file.seek(place.offset)
        data = file.read(_MAX_BYTES_AT_A_TIME)
    whole = data.rfind(b"\n") + 1
    if not whole and len(data) == _MAX_BYTES_AT_A_TIME:
        whole = len(data)  # a line without an end must not hold up what follows
    place.offset += whole
    return data[:whole].decode(errors="replace").splitlines()
