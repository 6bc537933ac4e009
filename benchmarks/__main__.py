"""`python -m benchmarks [NAME ...]`: runs the benchmarks, prints their tables, and appends them to
docs/benchmarks.md. Exits with 1 if a goal is missed.

A benchmark is a module of this package with `TITLE` and `run() -> list[Row]`.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.row import Row
from benchmarks.table import heading, table

BENCHMARKS = (
    "preprocessing",
    "large_file",
    "training",
    "service",
    "load",
    "dashboard",
    "serving",
    "gpu_training",
)
RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*BENCHMARKS, []], help="default: all of them")
    all_rows: list[Row] = []
    for name in parser.parse_args().name or BENCHMARKS:
        module = import_module(f"benchmarks.{name}")
        if not (rows := module.run()):
            continue  # this machine lacks the required hardware
        all_rows += rows
        section = f"{heading(module.TITLE)}\n{table(rows)}"
        print(section, flush=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(f"\n{section}")
    return 0 if all(row.is_good for row in all_rows) else 1


if __name__ == "__main__":
    sys.exit(main())
