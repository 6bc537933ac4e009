"""Peak memory of a command and all of its descendants.

Memory is the proportional set size (PSS): a page that several processes share counts once.
"""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """Output and resource use of a command."""

    output: str
    wall_seconds: float
    peak_bytes: int
    """Largest sample of the memory of all processes together."""


def measure(command: Sequence[str]) -> Measured:
    """Runs a command to its end. Raises CalledProcessError if it fails."""
    began = time.monotonic()
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, memory_of_tree(process.pid))
            time.sleep(_SAMPLE_SECONDS)
        assert process.stdout is not None
        output = process.stdout.read()
    seconds = time.monotonic() - began
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, [*command], output)
    return Measured(output, seconds, peak)


def memory_of_tree(root: int) -> int:
    """Returns the current memory of a process and its descendants, in bytes."""
    return sum(_memory_of(pid) for pid in [root, *descendants(root)])


def descendants(root: int) -> list[int]:
    """Returns all descendants of a process."""
    children = _children()
    found = list(children.get(root, []))
    for pid in found:  # the list grows during the loop
        found += children.get(pid, [])
    return found


def private_memory() -> int:
    """Returns this process's anonymous memory in bytes: the part not shared with other ranks."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("Anonymous:")]
    return int(line.split()[1]) * 1024


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (parent := _parent_of(int(name))) is not None:
            children.setdefault(parent, []).append(int(name))
    return children


def _parent_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # "4711 (name) S parent ..."; a name may contain any characters
    return int(stat.rpartition(")")[2].split()[1])


def _memory_of(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    kilobytes = [line.split()[1] for line in text.splitlines() if line.startswith("Pss:")]
    return int(kilobytes[0]) * 1024 if kilobytes else 0
