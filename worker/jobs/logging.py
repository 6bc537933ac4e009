"""Logging of the service's processes, without secrets.

Each message is a line of text or JSON, with the ids of the request and the job:

    {"at": "2026-11-24T03:52:10.317Z", "level": "INFO", "logger": "api.http.middleware",
     "message": "GET /v1/files 200 (req_5f...)", "process": "api", "request_id": "req_5f..."}

`redacted` also removes secrets from texts for events and callers. No imports beyond the standard
library, because the supervisor needs this module.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

Value = TypeVar("Value")

HIDDEN = "[hidden]"

_SECRETS = re.compile(
    r"""
      (?P<login>://[^\s/@:]*:)[^\s/@]+(?=@)  # a login in a URL, however short its password is
    | (?P<kept>
          (?:authorization|proxy-authorization|x-api-key|api[_-]key|password|passwd
          |client[_-]secret|(?:access|auth|hub|hf|api|refresh)[_-]token)
          ["']?\s*[:=]\s*["']?(?:bearer\s+|basic\s+)?
        | \bbearer\s+
        | ://[^\s/@:]*:                     # redis://user:PASSWORD@host
      )
      (?P<secret>[^\s"',;&@{}()<>\[\]]{6,})(?P<at>@?)
    | \b(?:f5-|sk-|hf_|ghp_|xox[bp]-|AKIA)[\w-]{8,}
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Returns the text without API keys, tokens and passwords.

    >>> redacted("GET https://hub.test with hf_abcdefghijklmnop")
    'GET https://hub.test with [hidden]'
    >>> redacted("redis://:hunter2hunter2@redis:6379/0, Authorization: Bearer abcdef1234")
    'redis://:[hidden]@redis:6379/0, Authorization: Bearer [hidden]'
    >>> redacted("http://jane:pw@proxy:3128 and http://proxy:3128/path")
    'http://jane:[hidden]@proxy:3128 and http://proxy:3128/path'
    """
    return _SECRETS.sub(_hide, text)


def redacted_values(value: Value) -> Value:
    """Returns a JSON value with all its texts redacted; names stay.

    >>> redacted_values({"note": ["use hf_abcdefghijklmnop", 1]})
    {'note': ['use [hidden]', 1]}
    """
    changed: object = value
    if isinstance(value, str):
        changed = redacted(value)
    elif isinstance(value, dict):
        changed = {name: redacted_values(each) for name, each in value.items()}
    elif isinstance(value, list | tuple):
        changed = [redacted_values(each) for each in value]
    return changed  # type: ignore[return-value]


def _hide(found: re.Match[str]) -> str:
    if found["login"] is not None:
        return f"{found['login']}{HIDDEN}"
    if found["kept"] is None:
        return HIDDEN
    if found["kept"].startswith("://") and not found["at"]:
        return found[0]  # a port, not a password
    return f"{found['kept']}{HIDDEN}{found['at']}"


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
