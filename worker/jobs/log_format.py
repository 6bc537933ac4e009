<<<<<<< HEAD
"""The log of a process of the service: a line of text or of JSON for each thing that happened, with
the request or the job that it happened for, and without secrets.

    {"at": "2026-11-24T03:52:10.317Z", "level": "INFO", "logger": "api.middleware",
     "message": "GET /v1/files 200 (req_5f...)", "process": "api", "request_id": "req_5f..."}
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from worker.jobs.redaction import redacted

LogFormat = Literal["text", "json"]

_subject: ContextVar[dict[str, str] | None] = ContextVar("flant5_log_subject", default=None)


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """What is logged inside is about these: `request_id`, `job_id`."""
    token = _subject.set({**(_subject.get() or {}), **ids})
    try:
        yield
    finally:
        _subject.reset(token)


def configure_logging(log_format: LogFormat, *, process: str) -> None:
    """Called once, by the main program of a process, for its own loggers and all others."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process) if log_format == "json" else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class TextLines(logging.Formatter):
    """For people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class JsonLines(logging.Formatter):
    """For programs: always one line, in ASCII."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "at": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": redacted(record.getMessage()),
            "process": self._process,
            **(_subject.get() or {}),
        }
        if record.exc_info:
            entry["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=True)
=======
"""The format of `train.log`: what the trainer wrote, one line each, with its time and stream:

    2026-11-24T03:52:10.317Z stderr   3%|▎         | 2/75 [00:01<00:40,  1.81it/s]

No imports beyond the standard library, because the supervisor lives on this.
"""

import re
from datetime import UTC, datetime
from typing import Literal

Stream = Literal["stdout", "stderr"]

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (stdout|stderr) (.*)", re.DOTALL)


def format_line(line: str, *, stream: Stream, at: datetime) -> bytes:
    """
    >>> format_line("hi", stream="stdout", at=datetime(2026, 11, 24, 3, 52, tzinfo=UTC))
    b'2026-11-24T03:52:00.000Z stdout hi\\n'
    """
    instant = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
    return f"{instant} {stream} {line}\n".encode()


def parse_line(line: bytes) -> tuple[float | None, Stream, str]:
    """Unix seconds, stream and text; a line that lost its head comes as text of stdout."""
    text = line.decode("utf-8", "replace").removesuffix("\n")
    found = _LINE.fullmatch(text)
    if found is None:
        return None, "stdout", text
    at = datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return at.timestamp(), "stdout" if found[2] == "stdout" else "stderr", found[3]
>>>>>>> main
