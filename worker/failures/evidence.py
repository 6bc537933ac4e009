"""Parses torchrun's failure summary: the first failed process, and the exit of each process.

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

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

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


def words_before(lines: Sequence[str]) -> list[str]:
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
