"""What a module of a type of integration is given: the run as it grows, and the way back to the
shipper."""

import os
import threading
from collections.abc import Iterator, Sequence
from io import FileIO

from worker.integrations.assignment import JobEnded, Report
from worker.integrations.curve_reader import CurveReader, Step
from worker.jobs.life import Status

POLL_SECONDS = 1.0
LEFT_ALONE = 3
"""Exit code when the shipper is gone."""


class ShippingError(Exception):
    """The tracker did not take it; the message says why, and has no secret in it. `is_final`:
    another time it would not either."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Say:
    """The way back to the shipper. Whatever else of this process writes to standard output goes to
    standard error."""

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
        """Of the job, once it does not run any more."""

    @property
    def data(self) -> dict[str, object]:
        return self._reader.data

    def batches(self) -> Iterator[Sequence[Step]]:
        """New steps as they come, also none, until the job does not run any more."""
        while True:
            # Looked at first: all that a run has to say is in the file before it has ended.
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
        """Learns of the job's end, and ends the process with the shipper: the next one must not
        find it at work, whatever it waits for just now."""
        for line in self._messages:
            self.status = JobEnded.model_validate_json(line).status
            self._has_ended.set()
        os._exit(LEFT_ALONE)
