"""Rows as a Markdown table, and where they were measured."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.row import Row

_REPOSITORY = Path(__file__).parents[1]


def table(rows: Sequence[Row]) -> str:
    """Markdown, one line a row."""
    lines = ["| | ours | theirs | unit | ratio | goal | |", "|---|--:|--:|---|--:|---|---|"]
    lines += [
        f"| {row.name} | {_number(row.ours)} | {_number(row.theirs)} | {row.unit}"
        f" | {_number(row.ratio)} | {row.goal} | {_verdict(row)} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def heading(name: str) -> str:
    """What was measured, when, where and of which commit."""
    return f"## {name}, {datetime.now(UTC):%Y-%m-%d}\n\n{machine()}; commit {commit()}.\n"


def machine() -> str:
    """The processor, the cores that this process may use, the memory, and Python."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {gigabytes:.0f} GB,"
        f" Python {platform.python_version()}"
    )


def commit() -> str:
    """The commit of the working tree, with a plus sign when files were changed since."""
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
