"""Log views: `LogView` shows new lines of log files, `LogFollower` the last lines of a job's log.

`LogView` prefixes lines with the process name. `LogFollower` is updated by a background thread.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from api.cli.client import Client, CommandError
from api.cli.follow_stream import Disconnected, Idle, StreamEnded, follow_stream
from api.cli.settings import ClientSettings

_MAX_BYTES_AT_A_TIME = 2**16


@dataclass(slots=True)
class _TailPosition:
    """Read position in a log file."""

    name: str
    path: Path
    offset: int


class LogView:
    """Tails several log files. With pipes instead, a stopped terminal would block the processes."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._places: list[_TailPosition] = []

    def add(self, name: str, path: Path) -> None:
        """Shows `path` from its current end."""
        offset = path.stat().st_size if path.exists() else 0
        self._places.append(_TailPosition(name, path, offset))

    def show_new_lines(self) -> None:
        for place in self._places:
            for line in _new_lines(place):
                self._notify(f"{place.name:>6} | {line}")


def _new_lines(place: _TailPosition) -> list[str]:
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


_MAX_LINES = 200


class LogFollower:
    """Follows the log from `start` on until the job ends."""

    def __init__(self, job_id: str) -> None:
        self._path = f"/fine_tuning/jobs/{job_id}/logs"
        self._lines: deque[str] = deque(maxlen=_MAX_LINES)
        # A daemon: a thread that reads a quiet stream can't be stopped.
        self._thread = threading.Thread(target=self._follow, name="log tail", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, *, timeout_seconds: float) -> None:
        """Waits for the end of the log, which ends with the job."""
        self._thread.join(timeout_seconds)

    def last(self, count: int) -> list[str]:
        """Returns at most `count` lines, newest last."""
        return list(self._lines)[-count:] if count > 0 else []

    def _follow(self) -> None:
        with Client(ClientSettings()) as client:
            try:
                after = None
                for line in client.get(self._path, {"tail": _MAX_LINES})["data"]:
                    after = line["id"]
                    self._lines.append(line["line"])
                for item in follow_stream(client, self._path, after=after):
                    if not isinstance(item, StreamEnded | Idle | Disconnected):
                        self._lines.append(item["line"])
            except CommandError as error:
                self._lines.append(f"(cannot follow the log: {error})")
