"""Evidence of a failed attempt: its files, the exits of its processes, and torchrun's summary.

The summary gives the first failed process, and the exit of each process:

    Failures:
    [1]:
      rank      : 0 (local_rank: 0)
      exitcode  : -15 (pid: 6354)  (SIGTERM)
    Root Cause (first observed failure):
    [0]:
      rank      : 1 (local_rank: 1)
      exitcode  : 3 (pid: 6355)

When one process is lost, the others exit too: with 1 after an exception of their own, or by the
SIGTERM and SIGKILL that stop the rest. The first observed failure is not always the cause: torchrun
polls every 0.1 s, and two processes may exit in between.
"""

import json
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flant5_train.protocol.failure import Failure, FailureCode, read_failure
from flant5_train.protocol.host import free_bytes
from worker.jobs.storage.log_format import parse_line, whole_lines, whole_size
from worker.jobs.storage.paths import RunDirectory

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
"""Signals that a process raises by its own fault."""


_BEGINS = re.compile(r"failed \(exitcode: -?\d+\)|Sending process \d+ closing signal")
_ROOT_CAUSE = re.compile(r"Root Cause \(first observed failure\)")
_RANK = re.compile(r"^\s*rank\s*:\s*(\d+)\b")
_EXIT_CODE = re.compile(r"^\s*exitcode\s*:\s*(-?\d+)\b")
_EXCEPTION = 1


@dataclass(frozen=True, slots=True)
class RankEnd:
    """Exit of one training process. A negative exit code is the signal that killed it."""

    rank: int
    exit_code: int

    @property
    def signal(self) -> int | None:
        return -self.exit_code if self.exit_code < 0 else None

    def __str__(self) -> str:
        """
        >>> str(RankEnd(rank=1, exit_code=-11))
        'a training process was killed by signal 11 (SIGSEGV)'
        """
        if self.signal is None:
            return f"a training process ended with exit code {self.exit_code}"
        return f"a training process was killed by {signal_name(self.signal)}"


@dataclass(frozen=True, slots=True)
class Summary:
    """Exits of all failed processes, the first observed one first."""

    ends: tuple[RankEnd, ...]

    @property
    def cause(self) -> RankEnd:
        """The exit that explains the others."""
        first = self.ends[0]
        if first.exit_code != _EXCEPTION:
            return first
        return next((end for end in self.ends if _has_a_cause_of_its_own(end)), first)

    def has_killed(self, number: int) -> bool:
        """Returns True if this signal killed a process, as a cause or a consequence."""
        return any(end.signal == number for end in self.ends)


def find_summary(lines: Sequence[str]) -> Summary | None:
    """Returns torchrun's summary, or None if it reports no failed process."""
    others: list[RankEnd] = []
    roots: list[RankEnd] = []
    ends = others
    rank = 0
    for line in lines:
        if _ROOT_CAUSE.search(line):
            ends = roots
        elif found := _RANK.match(line):
            rank = int(found[1])
        elif found := _EXIT_CODE.match(line):
            ends.append(RankEnd(rank, int(found[1])))
    return Summary((*roots, *others)) if roots else None


def lines_before(lines: Sequence[str]) -> list[str]:
    """Returns the lines that the training processes wrote before torchrun's report."""
    end = next((at for at, line in enumerate(lines) if _BEGINS.search(line)), len(lines))
    return [line for line in lines[:end] if line.strip()]


def signal_name(number: int) -> str:
    """
    >>> signal_name(11)
    'signal 11 (SIGSEGV)'
    """
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _has_a_cause_of_its_own(end: RankEnd) -> bool:
    return end.signal in CRASHES or end.exit_code > _EXCEPTION


_TAIL_BYTES = 32_768
_NUM_LAST_WORDS = 5
_MAX_WORDS_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """Exit of an attempt's processes, as reported by the system."""

    exit_code: int | None = None
    """The supervisor's exit code: torchrun's, or 128 + n if signal n killed torchrun. Negative if a
    signal killed the supervisor itself. None if unknown."""
    oom_kills: int = 0
    """Processes killed by the OOM killer during the attempt (`worker.failures.diagnosis`)."""


@dataclass(frozen=True, slots=True)
class FailureEvidence:
    """Evidence of a failed attempt."""

    failure: Failure | None
    summary: Summary | None
    torch_error: str | None
    last_lines: list[str]
    """The last lines that the training processes wrote."""
    num_free_bytes: int
    end: ProcessExit

    @classmethod
    def collect(
        cls, run_directory: RunDirectory, *, log_start: int, end: ProcessExit
    ) -> "FailureEvidence":
        tail = _log_tail(run_directory.log, log_start)
        return cls(
            failure=_read_failure(run_directory.failure),
            summary=find_summary(tail),
            torch_error=_torch_error(run_directory.torch_error),
            last_lines=lines_before(tail),
            num_free_bytes=free_bytes(run_directory.path),
            end=end,
        )

    @property
    def tail(self) -> str:
        """The last lines, joined with " | ". Usually the end of a traceback."""
        return " | ".join(self.last_lines[-_NUM_LAST_WORDS:])[-_MAX_WORDS_CHARACTERS:]


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
