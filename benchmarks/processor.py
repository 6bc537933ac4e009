"""CPU time of a process."""

import os
from pathlib import Path

from benchmarks.memory import descendants

_USER, _SYSTEM = 11, 12
"""Positions after the program's name in /proc/PID/stat; see proc_pid_stat(5)."""


def processor_seconds(pid: int) -> float:
    """Returns the CPU seconds in user and kernel mode since its start.

    Raises FileNotFoundError if the process has ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / os.sysconf("SC_CLK_TCK")


def process_of(root: int, module: str) -> int:
    """Returns the descendant of `root` that runs `python -m MODULE`.

    Raises ValueError unless there is exactly one.
    """
    found = [pid for pid in descendants(root) if _arguments(pid)[1:3] == ["-m", module]]
    if len(found) != 1:
        raise ValueError(f"{len(found)} processes run {module}; expected one")
    return found[0]


def _arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
