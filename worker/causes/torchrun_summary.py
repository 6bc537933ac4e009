"""What torchrun says last: which training process failed first, and how each of them ended.

    Failures:
    [1]:
      rank      : 0 (local_rank: 0)
      exitcode  : -15 (pid: 6354)  (SIGTERM)
    Root Cause (first observed failure):
    [0]:
      rank      : 1 (local_rank: 1)
      exitcode  : 3 (pid: 6355)

A process of a training that lost another one ends too: with 1, by an exception of its own, or by
the SIGTERM and the SIGKILL that end the rest. The first observed failure is not always the cause:
torchrun looks every 0.1 s, and two may have ended since.
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
"""Signals that a process brings upon itself."""


_BEGINS = re.compile(r"failed \(exitcode: -?\d+\)|Sending process \d+ closing signal")
_ROOT_CAUSE = re.compile(r"Root Cause \(first observed failure\)")
_RANK = re.compile(r"^\s*rank\s*:\s*(\d+)\b")
_EXIT_CODE = re.compile(r"^\s*exitcode\s*:\s*(-?\d+)\b")
_EXCEPTION = 1


@dataclass(frozen=True, slots=True)
class RankEnd:
    """How one training process ended; below zero, by that signal."""

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
    """The ends of all processes that failed, the first observed one first."""

    ends: tuple[RankEnd, ...]

    @property
    def cause(self) -> RankEnd:
        """The end that explains the others."""
        first = self.ends[0]
        if first.exit_code != _EXCEPTION:
            return first
        return next((end for end in self.ends if _has_a_cause_of_its_own(end)), first)

    def has_killed(self, number: int) -> bool:
        """Whether a process ended by this signal, as a cause or a consequence."""
        return any(end.signal == number for end in self.ends)


def find_summary(lines: Sequence[str]) -> Summary | None:
    """None when torchrun had no failed process to tell of."""
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
    """What the training processes said themselves, before torchrun told of their end."""
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
