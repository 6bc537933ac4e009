"""Memory for preprocessing a JSON array of 600 MB: `python -m benchmarks.large_file`."""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.memory import measure
from benchmarks.row import Row
from benchmarks.table import table
from benchmarks.talks import write_array
from benchmarks.vocabulary import vocabulary

TITLE = "A large file"
NUM_BYTES = 600_000_000
LIMIT_BYTES = 1_500_000_000


def run() -> list[Row]:
    """Measures the peak memory of all processes together, against the limit."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "talks.json"
        num_talks = write_array(file, num_bytes=NUM_BYTES)
        words = str(vocabulary(Path(scratch)))
        cache = str(Path(scratch) / "cache")
        command = [sys.executable, "-m", "benchmarks.encode", str(file), words, cache]
        measured = measure(command)
        megabytes = file.stat().st_size / 1e6
    rate = megabytes / json.loads(measured.output)["wall"]
    name = f"peak memory, {megabytes:.0f} MB array of {num_talks:,} conversations, {rate:.1f} MB/s"
    return [
        Row(
            name=f"{name} (theirs: the limit)",
            ours=measured.peak_bytes / 1e6,
            theirs=LIMIT_BYTES / 1e6,
            ratio=measured.peak_bytes / LIMIT_BYTES,
            unit="MB",
            goal="<= 1",
        )
    ]


if __name__ == "__main__":
    print(table(run()))
