"""Interface for integration modules: the growing run, and reports to the shipper."""

import os
import threading
from collections.abc import Iterator, Sequence
from io import FileIO

from worker.integrations.assignment import JobEnded, Report
from worker.integrations.curve_reader import CurveReader, Step
from worker.jobs.life import Status

POLL_SECONDS = 1.0
LEFT_ALONE = 3
"""Exit code after the shipper has exited."""


class ShippingError(Exception):
    """The export failed. The message contains no secrets. `is_final`: a retry would also fail."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Say:
    """Sends reports to the shipper. Redirects other writes to standard output to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def alive(self) -> None:
        self._write(Report())

    def url(self, url: str) -> None:
        self._write(Report(url=url))

    def done(self) -> None:
        self._write(Report(is_done=True))

    def problem(self, text: str, *, is_final: bool = False) -> None:
        self._write(Report(problem=text, is_final=is_final))

    def _write(self, report: Report) -> None:
        self._out.write(report.model_dump_json() + "\n")
        self._out.flush()


class FollowedRun:
    """A run as it grows."""

    def __init__(self, reader: CurveReader, say: Say, messages: FileIO) -> None:
        self._reader = reader
        self._say = say
        self._messages = messages
        self._has_ended = threading.Event()
        self.status: Status | None = None
        """Status of the job once it is no longer running, None before."""

    @property
    def data(self) -> dict[str, object]:
        return self._reader.data

    def batches(self) -> Iterator[Sequence[Step]]:
        """Yields batches of new steps, possibly empty, until the job is no longer running."""
        while True:
            # Read before the steps: a run writes all its records before its status changes.
            status = self.status
            steps = list(self._reader.read())
            if status is not None and status.is_final:
                steps += self._reader.rest()
            yield steps
            if status is not None:
                return
            self._say.alive()
            self._has_ended.wait(POLL_SECONDS)

    def watch_shipper(self) -> None:
        """Receives the job's end, and exits this process when the shipper exits.

        Without the latter, the next shipper could start a second export beside a blocked one.
        """
        for line in self._messages:
            self.status = JobEnded.model_validate_json(line).status
            self._has_ended.set()
        os._exit(LEFT_ALONE)
