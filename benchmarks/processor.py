"""What of a processor's time a process has taken."""

import os
from pathlib import Path

from benchmarks.memory import descendants

_USER, _SYSTEM = 11, 12
"""Places behind the name of the program in /proc/PID/stat; proc_pid_stat(5)."""


def processor_seconds(pid: int) -> float:
    """In user and kernel mode since its start. Raises FileNotFoundError when it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / os.sysconf("SC_CLK_TCK")


def process_of(root: int, module: str) -> int:
    """The process below `root` that runs `python -m MODULE`. Raises ValueError without exactly
    one."""
    found = [pid for pid in descendants(root) if _arguments(pid)[1:3] == ["-m", module]]
    if len(found) != 1:
        raise ValueError(f"{len(found)} processes run {module}; expected one")
    return found[0]


def _arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
