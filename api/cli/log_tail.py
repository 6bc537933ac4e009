"""The last lines of a job's log, updated by a background thread."""

import threading
from collections import deque

from api.cli.client import Client
from api.cli.errors import CommandError
from api.cli.settings import ClientSettings
from api.cli.views.live import Away, Ended, Quiet, follow

_MAX_LINES = 200


class LogTail:
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
                for item in follow(client, self._path, after=after):
                    if not isinstance(item, Ended | Quiet | Away):
                        self._lines.append(item["line"])
            except CommandError as error:
                self._lines.append(f"(cannot follow the log: {error})")
