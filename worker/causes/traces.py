"""What an attempt leaves behind when it fails: files, and how its processes ended."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flant5_train.failure import Failure, FailureCode, read_failure
from worker.causes.torchrun_summary import Summary, find_summary, words_before
from worker.jobs.home import RunDirectory
from worker.jobs.lines import whole_lines, whole_size
from worker.jobs.log_format import parse_line

_TAIL_BYTES = 32_768
_NUM_LAST_WORDS = 5
_MAX_WORDS_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt's processes ended, as far as the system tells."""

    exit_code: int | None = None
    """The supervisor's: torchrun's, 128 + n when signal n killed torchrun; below zero when a signal
    killed the supervisor itself. None: not known."""
    oom_kills: int = 0
    """Processes that the kernel killed for want of memory meanwhile (`worker.causes.oom`)."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What an attempt that failed left behind."""

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
            num_free_bytes=shutil.disk_usage(run_directory.path).free,
            end=end,
        )

    @property
    def last_words(self) -> str:
        """The end of a traceback, as a rule."""
        return " | ".join(self.words[-_NUM_LAST_WORDS:])[-_MAX_WORDS_CHARACTERS:]


def _read_failure(path: Path) -> Failure | None:
    try:
        return read_failure(path)
    except ValidationError as error:
        return Failure(code=FailureCode.INTERNAL, message=f"{path.name} is malformed: {error}")


def _torch_error(path: Path) -> str | None:
    """torchrun's file: {"message": {"message": "ValueError: ...", "extraInfo": {...}}}."""
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
