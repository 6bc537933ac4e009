"""Training speed with and without open dashboard pages: `python -m benchmarks dashboard`.

During one long run, windows with two open pages (the job list and the job) alternate with windows
without pages, so that other load of the machine affects both sides equally. The run is measured
with a trainer that keeps all cores busy, and with one core less, as on a host that trains on GPUs.
The difference between a window without pages and its neighbours shows the noise. The visitors run
on the same machine, unlike those of a real service, so their share is reported too.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from benchmarks.live_service import BenchmarkError, LiveService, live_service
from benchmarks.processor import process_of, processor_seconds
from benchmarks.row import Row
from benchmarks.service import DATA, MAX_SECONDS, SETTINGS
from benchmarks.table import table
from flant5_train.protocol.progress import StepTrained, read_records
from worker.jobs.storage.paths import RunDirectory

TITLE = "The dashboard"
_NUM_WATCHED = 12
_WINDOW_SECONDS = 10.0
_SETTLE_SECONDS = 5.0
"""Pause between two windows: the server keeps a closed page for a few seconds."""
_POLL_SECONDS = 0.5
_LEAST_UPDATES = 2
"""Minimum per window: a page with fewer updates was not open."""


@dataclass(frozen=True, slots=True)
class Window:
    """A period with or without open pages."""

    begin: float
    """Start, in Unix seconds."""
    end: float
    api_seconds: float
    """CPU seconds of the API in the window."""
    visitor_seconds: float
    """CPU seconds of the visitors in the window."""


def run() -> list[Row]:
    """Measures steps per second and CPU shares, with and without open pages."""
    num_cores = len(os.sched_getaffinity(0))
    measured = [*_measured("on all cores", num_cores)]
    if num_cores > 1:
        measured += _measured("with a core to spare", num_cores - 1)
    return measured


def _measured(how: str, num_threads: int) -> list[Row]:
    threads = {"OMP_NUM_THREADS": str(num_threads)}
    with (
        tempfile.TemporaryDirectory() as scratch,
        live_service(Path(scratch) / "home", threads) as service,
    ):
        file = service.upload(DATA)
        warm_up = service.submit(file, SETTINGS | {"max_steps": 2})
        service.run_directory(warm_up, max_seconds=MAX_SECONDS)
        job_id = service.submit(file, SETTINGS | {"max_steps": 1_000_000, "logging_steps": 1})
        progress = RunDirectory(service.home / "jobs" / job_id).progress
        _wait_for_steps(progress)
        with _pages(service, job_id):
            time.sleep(_SETTLE_SECONDS)  # the first visit loads the dashboard
        # The first and the last window have no pages, so each watched window has two neighbours.
        windows = [_window(service, job_id, n % 2 == 1) for n in range(2 * _NUM_WATCHED + 1)]
        service.client.post(f"/fine_tuning/jobs/{job_id}/cancel").raise_for_status()
        steps = [each.at for each in read_records(progress) if isinstance(each, StepTrained)]
    return rows(how, windows, steps)


def rows(how: str, windows: Sequence[Window], steps: Sequence[float]) -> list[Row]:
    """Compares each window with its neighbours.

    `windows` alternate between unwatched and watched, and begin and end with an unwatched one.
    `steps` are the Unix times at which each step ended.
    """
    speeds = [_speed(window, steps) for window in windows]
    alone, watched = speeds[::2], speeds[1::2]
    noise = [abs(ratio - 1) for ratio in _beside(alone[1:-1], alone[:-2], alone[2:])]
    idle, busy = windows[::2], windows[1::2]
    api, api_before = (fmean(_share(w, w.api_seconds) for w in side) for side in (busy, idle))
    visitors = fmean(_share(window, window.visitor_seconds) for window in busy)
    return [
        Row(
            f"training {how}, two pages open (theirs: none)",
            median(watched),
            median(alone),
            median(_beside(watched, alone[:-1], alone[1:])),
            "steps/s",
            ">= 0.99",
        ),
        Row(
            f"slowest and fastest window, {how}, none open (ratio: how far from its neighbours)",
            min(alone),
            max(alone),
            median(noise),
            "steps/s",
            "",
        ),
        Row(
            f"API's share of a core, {how} (theirs: no page open; ratio: more with two)",
            api,
            api_before,
            api - api_before,
            "cores",
            "<= 0.01",
        ),
        Row(
            f"visitors' share of a core, {how}, on the same machine (theirs: on their own)",
            visitors,
            0.0,
            visitors,
            "cores",
            "",
        ),
    ]


def _beside(
    speeds: Sequence[float], before: Sequence[float], behind: Sequence[float]
) -> list[float]:
    """Returns each speed divided by the mean of its two neighbours."""
    return [speed / fmean(around) for speed, *around in zip(speeds, before, behind, strict=True)]


def _speed(window: Window, steps: Sequence[float]) -> float:
    """Returns steps per second between the first and the last step that ended in the window."""
    ended = [at for at in steps if window.begin <= at <= window.end]
    if len(ended) < 2:
        raise BenchmarkError(f"{len(ended)} steps in a window; expected 2 or more")
    return (len(ended) - 1) / (ended[-1] - ended[0])


def _share(window: Window, seconds: float) -> float:
    return seconds / (window.end - window.begin)


def _window(service: LiveService, job_id: str, is_watched: bool) -> Window:
    with ExitStack() as pages:
        visitors = pages.enter_context(_pages(service, job_id)) if is_watched else ()
        time.sleep(_SETTLE_SECONDS)
        begin, before = time.time(), _processor_seconds(service, visitors)
        time.sleep(_WINDOW_SECONDS)
        end, after = time.time(), _processor_seconds(service, visitors)
    api, visiting = (last - first for last, first in zip(after, before, strict=True))
    return Window(begin, end, api_seconds=api, visitor_seconds=visiting)


def _processor_seconds(service: LiveService, visitors: Sequence[int]) -> tuple[float, float]:
    """Returns the CPU seconds of the API, and of the visitors together."""
    api = processor_seconds(process_of(service.pid, "api"))
    return api, sum(processor_seconds(pid) for pid in visitors)


def _wait_for_steps(progress: Path) -> None:
    deadline = time.monotonic() + MAX_SECONDS
    while not (
        progress.exists() and any(isinstance(r, StepTrained) for r in read_records(progress))
    ):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"no step within {MAX_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)


@contextmanager
def _pages(service: LiveService, job_id: str) -> Iterator[tuple[int, ...]]:
    """Opens the job list and the page of one job. Yields the visitors' process ids."""
    root = str(service.client.base_url).removesuffix("/").removesuffix("/v1")
    with _visitor(f"{root}/") as one, _visitor(f"{root}/jobs/{job_id}") as other:
        yield one, other


@contextmanager
def _visitor(url: str) -> Iterator[int]:
    """Opens a page in a process and yields its id. Raises BenchmarkError if it did not update."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.visitor", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        opened = process.stdout.readline()
        yield process.pid
    finally:
        try:
            said, complaint = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            said, complaint = process.communicate()
    if opened != "open\n" or process.returncode:
        raise BenchmarkError(f"{url} was not open: {opened}{said}{complaint[-2000:]}")
    if int(said) < _LEAST_UPDATES:
        raise BenchmarkError(f"{url} updated {said.strip()} times; expected {_LEAST_UPDATES}")


if __name__ == "__main__":
    print(table(run()))
