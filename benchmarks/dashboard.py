"""Training with and without somebody who looks: `python -m benchmarks dashboard`.

One long run; while it trains, its page and the list of jobs are open for a while and then are not,
again and again, so that what else the machine does falls on both sides alike. Once with a trainer
that keeps all cores busy, and once with one core less, as on a host whose training is done by GPUs.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from benchmarks.live_service import BenchmarkError, LiveService, live_service
from benchmarks.processor import process_of, processor_seconds
from benchmarks.row import Row
from benchmarks.service import DATA, MAX_SECONDS, SETTINGS
from benchmarks.table import table
from flant5_train.progress import StepTrained, read_records
from worker.jobs.home import RunDirectory

TITLE = "The dashboard"
_NUM_PAIRS = 12
_WINDOW_SECONDS = 10.0
_SETTLE_SECONDS = 5.0
"""Between two windows: a page that was left is kept a few seconds."""
_POLL_SECONDS = 0.5
_LEAST_UPDATES = 2
"""In each window: a page that changes less often was not open."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which pages were open, or were not."""

    is_watched: bool
    begin: float
    """In Unix seconds."""
    end: float
    api_seconds: float
    """Of a processor, that the API took meanwhile."""


def run() -> list[Row]:
    """Steps by the second with and without open pages."""
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
        windows = [_window(service, job_id, is_watched) for is_watched in _order()]
        service.client.post(f"/fine_tuning/jobs/{job_id}/cancel").raise_for_status()
        steps = [each.at for each in read_records(progress) if isinstance(each, StepTrained)]
    return rows(how, windows, steps)


def _order() -> list[bool]:
    """Of each pair of windows one is watched: the second, the first, the second ..."""
    return [is_watched for n in range(_NUM_PAIRS) for is_watched in (n % 2 == 1, n % 2 == 0)]


def rows(how: str, windows: list[Window], steps: list[float]) -> list[Row]:
    """`steps` are the Unix seconds at which each step ended. Watched windows are compared each with
    the one beside it."""
    pairs = [sorted(pair, key=lambda window: window.is_watched) for pair in _paired(windows)]
    alone, watched = ([_speed(pair[side], steps) for pair in pairs] for side in (0, 1))
    ratio = median(ours / theirs for ours, theirs in zip(watched, alone, strict=True))
    idle, busy = (fmean(_share(pair[side]) for pair in pairs) for side in (0, 1))
    return [
        Row(
            f"training {how}, two pages open (theirs: none)",
            median(watched),
            median(alone),
            ratio,
            "steps/s",
            ">= 0.99",
        ),
        Row(
            f"API's share of a core, training {how} (ratio: more with two pages)",
            busy,
            idle,
            busy - idle,
            "cores",
            "",
        ),
    ]


def _paired(windows: list[Window]) -> Iterator[tuple[Window, Window]]:
    yield from zip(windows[::2], windows[1::2], strict=True)


def _speed(window: Window, steps: list[float]) -> float:
    """Steps by the second between the first and the last one that ended in the window."""
    ended = [at for at in steps if window.begin <= at <= window.end]
    if len(ended) < 2:
        raise BenchmarkError(f"{len(ended)} steps in a window; expected 2 or more")
    return (len(ended) - 1) / (ended[-1] - ended[0])


def _share(window: Window) -> float:
    return window.api_seconds / (window.end - window.begin)


def _window(service: LiveService, job_id: str, is_watched: bool) -> Window:
    with ExitStack() as pages:
        if is_watched:
            pages.enter_context(_pages(service, job_id))
        time.sleep(_SETTLE_SECONDS)
        begin, cpu_before = time.time(), _api_seconds(service)
        time.sleep(_WINDOW_SECONDS)
        end, cpu_after = time.time(), _api_seconds(service)
    return Window(is_watched, begin, end, cpu_after - cpu_before)


def _api_seconds(service: LiveService) -> float:
    return processor_seconds(process_of(service.pid, "api"))


def _wait_for_steps(progress: Path) -> None:
    deadline = time.monotonic() + MAX_SECONDS
    while not (
        progress.exists() and any(isinstance(r, StepTrained) for r in read_records(progress))
    ):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"no step within {MAX_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)


@contextmanager
def _pages(service: LiveService, job_id: str) -> Iterator[None]:
    """The list of jobs and the page of one, looked at."""
    root = str(service.client.base_url).removesuffix("/").removesuffix("/v1")
    with _visitor(f"{root}/"), _visitor(f"{root}/jobs/{job_id}"):
        yield


@contextmanager
def _visitor(url: str) -> Iterator[None]:
    """Somebody who looks at a page. Raises BenchmarkError when it did not change."""
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
        yield
    finally:
        try:
            said, complaint = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            said, complaint = process.communicate()
    if opened != "open\n" or process.returncode:
        raise BenchmarkError(f"{url} was not open: {opened}{said}{complaint[-2000:]}")
    if int(said) < _LEAST_UPDATES:
        raise BenchmarkError(f"{url} changed {said.strip()} times; expected {_LEAST_UPDATES}")


if __name__ == "__main__":
    print(table(run()))
