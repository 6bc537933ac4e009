"""Logging of the service's processes: a line of text or JSON for each message, with the ids of the
request and the job, and without secrets.

    {"at": "2026-11-24T03:52:10.317Z", "level": "INFO", "logger": "api.http.middleware",
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
    """Adds these ids (`request_id`, `job_id`) to the messages logged inside."""
    token = _subject.set({**(_subject.get() or {}), **ids})
    try:
        yield
    finally:
        _subject.reset(token)


def configure_logging(log_format: LogFormat, *, process: str) -> None:
    """Configures all loggers of a process; its main program calls this once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process) if log_format == "json" else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class TextLines(logging.Formatter):
    """Formatter for people: text."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class JsonLines(logging.Formatter):
    """Formatter for programs: one line of ASCII JSON per message."""

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
