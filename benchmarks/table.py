"""Markdown tables of results, with the machine and commit."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.row import Row

_REPOSITORY = Path(__file__).parents[1]


def table(rows: Sequence[Row]) -> str:
    """Returns a Markdown table, one line per row."""
    lines = ["| | ours | theirs | unit | ratio | goal | |", "|---|--:|--:|---|--:|---|---|"]
    lines += [
        f"| {row.name} | {_number(row.ours)} | {_number(row.theirs)} | {row.unit}"
        f" | {_number(row.ratio)} | {row.goal} | {_verdict(row)} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def heading(name: str) -> str:
    """Returns a heading with benchmark, date, machine and commit."""
    return f"## {name}, {datetime.now(UTC):%Y-%m-%d}\n\n{machine()}; commit {commit()}.\n"


def machine() -> str:
    """Returns the CPU, the cores that this process may use, the memory, and Python's version."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {gigabytes:.0f} GB,"
        f" Python {platform.python_version()}"
    )


def commit() -> str:
    """Returns the commit of the working tree, with a plus sign if there are local changes."""
    command = ["git", "describe", "--always", "--abbrev=10", "--dirty=+"]
    finished = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, check=False)
    return finished.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _verdict(row: Row) -> str:
    if not row.goal:
        return ""
    return "reached" if row.is_good else "missed"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
