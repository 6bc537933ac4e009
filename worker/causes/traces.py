"""Evidence of a failed attempt: its files and the exit of its processes."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flant5_train.protocol.failure import Failure, FailureCode, read_failure
from flant5_train.protocol.host import free_bytes
from worker.failures.evidence import Summary, find_summary, words_before
from worker.jobs.lines import whole_lines, whole_size
from worker.jobs.storage.log_format import parse_line
from worker.jobs.storage.paths import RunDirectory

_TAIL_BYTES = 32_768
_NUM_LAST_WORDS = 5
_MAX_WORDS_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class End:
    """Exit of an attempt's processes, as reported by the system."""

    exit_code: int | None = None
    """The supervisor's exit code: torchrun's, or 128 + n if signal n killed torchrun. Negative if a
    signal killed the supervisor itself. None if unknown."""
    oom_kills: int = 0
    """Processes killed by the OOM killer during the attempt (`worker.causes.oom`)."""


@dataclass(frozen=True, slots=True)
class Traces:
    """Evidence of a failed attempt."""

    failure: Failure | None
    summary: Summary | None
    torch_error: str | None
    words: list[str]
    """The last lines that the training processes wrote."""
    num_free_bytes: int
    end: End

    @classmethod
    def of(cls, run_directory: RunDirectory, *, log_start: int, end: End) -> "Traces":
        tail = _log_tail(run_directory.log, log_start)
        return cls(
            failure=_read_failure(run_directory.failure),
            summary=find_summary(tail),
            torch_error=_torch_error(run_directory.torch_error),
            words=words_before(tail),
            num_free_bytes=free_bytes(run_directory.path),
            end=end,
        )

    @property
    def last_words(self) -> str:
        """The last lines, joined with " | ". Usually the end of a traceback."""
        return " | ".join(self.words[-_NUM_LAST_WORDS:])[-_MAX_WORDS_CHARACTERS:]


def _read_failure(path: Path) -> Failure | None:
    try:
        return read_failure(path)
    except ValidationError as error:
        return Failure(code=FailureCode.INTERNAL, message=f"{path.name} is malformed: {error}")


def _torch_error(path: Path) -> str | None:
    """Returns the message in torchrun's error file.

    Its format: {"message": {"message": "ValueError: ...", "extraInfo": {...}}}.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    message = content.get("message") if isinstance(content, dict) else None
    if isinstance(message, dict):
        message = message.get("message")
    return str(message) if message else None


def _log_tail(path: Path, start: int) -> list[str]:
    size = whole_size(path)
    lines, _ = whole_lines(path, max(start, size - _TAIL_BYTES))
    return [text for _, _, text in map(parse_line, lines)]
