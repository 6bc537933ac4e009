"""Training with and without somebody who looks: `python -m benchmarks dashboard`.

The same job four times, in the order alone, watched, watched, alone. Watched means that its page
and the list of jobs are open and update themselves.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.live_service import BenchmarkError, LiveService, live_service
from benchmarks.row import Row
from benchmarks.service import DATA, MAX_SECONDS, SETTINGS, by_service
from benchmarks.table import table
from benchmarks.training_run import TrainingRun, speed_ratio, steps_per_second

TITLE = "The dashboard"
_LEAST_UPDATES = 5
"""A page that changes less often while a job trains was not open."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A run, and how often the pages changed meanwhile."""

    run: TrainingRun
    num_updates: int


def run() -> list[Row]:
    """Steps by the second with and without open pages."""
    with tempfile.TemporaryDirectory() as scratch, live_service(Path(scratch) / "home") as service:
        file = service.upload(DATA)
        warm_up = service.submit(file, SETTINGS | {"max_steps": 2})
        service.run_directory(warm_up, max_seconds=MAX_SECONDS)
        first = by_service(service, file)
        watched = [_watched(service, file), _watched(service, file)]
        return rows([first, by_service(service, file)], watched)


def rows(alone: list[TrainingRun], watched: list[Watched]) -> list[Row]:
    """Watched runs beside those that nobody looked at. Raises BenchmarkError when no page
    changed."""
    num_updates = min(each.num_updates for each in watched)
    if num_updates < _LEAST_UPDATES:
        raise BenchmarkError(f"a page changed {num_updates} times; expected {_LEAST_UPDATES}")
    runs = [each.run for each in watched]
    what = f"training with two pages open, which changed {num_updates} times or more (theirs: none)"
    ratio = speed_ratio(runs, alone)
    return [Row(what, steps_per_second(runs), steps_per_second(alone), ratio, "steps/s", ">= 0.99")]


def _watched(service: LiveService, file: str) -> Watched:
    root = str(service.client.base_url).removesuffix("/").removesuffix("/v1")
    counts: list[int] = []
    with ExitStack() as visitors:

        def look(job_id: str) -> None:
            for path in ("/", f"/jobs/{job_id}"):
                visitors.enter_context(_visitor(f"{root}{path}", counts))

        run = by_service(service, file, submitted=look)
        visitors.close()
    return Watched(run, min(counts))


@contextmanager
def _visitor(url: str, counts: list[int]) -> Iterator[None]:
    """Somebody who looks at a page; how often it changed is added to `counts` at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.visitor", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield
    finally:
        try:
            said, complaint = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            said, complaint = process.communicate()
    if not said.startswith("open\n") or process.returncode:
        raise BenchmarkError(f"{url} was not open: {said}{complaint[-2000:]}")
    counts.append(int(said.split()[-1]))


if __name__ == "__main__":
    print(table(run()))
