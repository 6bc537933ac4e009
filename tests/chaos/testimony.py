"""What the processes of a trainer say about themselves: when they were alive.

One file for each process, `<run directory>/witness/<pid>.jsonl`; `at` is CLOCK_BOOTTIME in seconds,
the same clock for all processes of the machine. Example:

    {"kind": "start", "at": 812.25, "pid": 4711, "rank": 0, "launch": "f3c0..."}
    {"kind": "beat", "at": 812.35}
    {"kind": "end", "at": 819.02}
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BEAT_SECONDS = 0.1
_FOLDER = "witness"


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WitnessLog:
    """The witness's pen; each line is one `write`, so that a kill leaves whole lines."""

    def __init__(self, run_directory: Path) -> None:
        folder = run_directory / _FOLDER
        folder.mkdir(exist_ok=True)
        path = folder / f"{os.getpid()}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def start(self, *, launch: str, rank: int) -> None:
        """`launch` is the same for all processes that one torchrun started."""
        self._write({"kind": "start", "pid": os.getpid(), "rank": rank, "launch": launch})

    def append(self, kind: str) -> None:
        self._write({"kind": kind})

    def _write(self, line: dict[str, object]) -> None:
        os.write(self._descriptor, json.dumps(line | {"at": now()}).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Witness:
    """The life of one process as far as it told it."""

    launch: str
    rank: int
    pid: int
    first: float
    last: float
    has_ended: bool
    """By itself; a process that was killed told no end."""


@dataclass(frozen=True, slots=True)
class Launch:
    """The life of all processes of one torchrun: of one attempt."""

    name: str
    first: float
    last: float


def witnesses(run_directory: Path) -> list[Witness]:
    """Of all processes that ever trained in this run directory, in the order of their starts."""
    files = (run_directory / _FOLDER).glob("*.jsonl")
    return sorted((one for path in files for one in _read(path)), key=lambda one: one.first)


def launches(told: list[Witness]) -> list[Launch]:
    """The attempts that came as far as starting a process, in the order of their starts."""
    by_name: dict[str, list[Witness]] = {}
    for one in told:
        by_name.setdefault(one.launch, []).append(one)
    lives = (
        Launch(name, min(one.first for one in group), max(one.last for one in group))
        for name, group in by_name.items()
    )
    return sorted(lives, key=lambda life: life.first)


def _read(path: Path) -> Iterator[Witness]:
    """A process id may be used again: then a file holds several lives."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    starts = [number for number, line in enumerate(lines) if line["kind"] == "start"]
    for begin, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        start, last = lines[begin], lines[end - 1]
        yield Witness(
            launch=start["launch"],
            rank=start["rank"],
            pid=start["pid"],
            first=start["at"],
            last=last["at"],
            has_ended=last["kind"] == "end",
        )
