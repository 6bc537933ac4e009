"""Preprocessing, compared with FastChat's: `python -m benchmarks.preprocessing`.

Each side runs in a separate process, one after the other, on the same synthetic conversations and
the same vocabulary. Ours takes seconds and runs before and after theirs, which takes minutes, so
that other load of the machine affects both. Seconds are those of preprocessing alone. Memory is
that of all processes together, including the interpreter, torch and transformers.
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import measure
from benchmarks.row import Row
from benchmarks.table import table
from benchmarks.talks import write_array
from benchmarks.vocabulary import vocabulary

TITLE = "Preprocessing"
NUM_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class _Way:
    wall_seconds: float
    processor_seconds: float
    peak_bytes: int
    data_bytes: int


def run() -> list[Row]:
    """Measures throughput, peak memory, and the memory of each rank."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "talks.json"
        write_array(file, num_bytes=NUM_BYTES)
        words = str(vocabulary(Path(scratch)))
        before = _ours(file, words, cache=Path(scratch) / "before")
        theirs = _way("fastchat", str(file), words)
        after = _ours(file, words, cache=Path(scratch) / "after")
        ours = _Way(
            wall_seconds=(before.wall_seconds + after.wall_seconds) / 2,
            processor_seconds=(before.processor_seconds + after.processor_seconds) / 2,
            peak_bytes=max(before.peak_bytes, after.peak_bytes),
            data_bytes=max(before.data_bytes, after.data_bytes),
        )
        megabytes = file.stat().st_size / 1e6
    return [
        Row(
            name=f"throughput, {megabytes:.0f} MB array",
            ours=megabytes / ours.wall_seconds,
            theirs=megabytes / theirs.wall_seconds,
            ratio=theirs.wall_seconds / ours.wall_seconds,
            unit="MB/s",
            goal=">= 40",
        ),
        Row(
            name="the same per second of processor time",
            ours=megabytes / ours.processor_seconds,
            theirs=megabytes / theirs.processor_seconds,
            ratio=theirs.processor_seconds / ours.processor_seconds,
            unit="MB/s",
            goal="",
        ),
        _memory("peak memory, all processes", ours.peak_bytes, theirs.peak_bytes, goal="<= 0.25"),
        _memory("memory of each rank for it", ours.data_bytes, theirs.data_bytes, goal="<= 0.05"),
    ]


def _ours(file: Path, words: str, *, cache: Path) -> _Way:
    return _way("encode", str(file), words, str(cache))


def _way(module: str, *arguments: str) -> _Way:
    measured = measure([sys.executable, "-m", f"benchmarks.{module}", *arguments])
    told = json.loads(measured.output)
    return _Way(told["wall"], told["processor"], measured.peak_bytes, told["data_bytes"])


def _memory(name: str, ours: int, theirs: int, *, goal: str) -> Row:
    return Row(name, ours / 1e6, theirs / 1e6, ours / theirs, unit="MB", goal=goal)


if __name__ == "__main__":
    print(table(run()))
