"""Incremental curve of a job: reads new steps, and computes updates for browsers.

Each refresh reads only the new lines of `progress.jsonl`. `api.services.outputs` reads the whole
file for each request, but an open page polls continually. The rules are the same: a resume drops
the steps after its checkpoint until they are trained again.

Long curves are downsampled to about 1,000 points. Rows are grouped into buckets of equal width, a
power of two. Each bucket keeps its minimum and maximum, which preserves spikes. While a curve
grows, only its last bucket changes. When the width doubles, all points are sent again.
"""

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flant5_train.protocol.progress import Evaluated, StepTrained, TrainingStarted, parse_record

TRAIN = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "gpu_memory_bytes")
EVALUATION = ("eval_loss", "eval_token_accuracy", "eval_exact_match", "eval_rouge_l")
SMOOTHED = "smoothed"
_SMOOTHED_OF = {
    "loss": SMOOTHED,
    "grad_norm": "smoothed_grad_norm",
    "tokens_per_second": "smoothed_tokens_per_second",
}
SMOOTH = tuple(_SMOOTHED_OF.values())
"""Columns derived from others by smoothing."""
_WEIGHT = 0.05
_MAX_KEPT = 32
_CHUNK_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class Column:
    """Values by step, in step order; NaN for steps without a value."""

    steps: Sequence[float]
    values: Sequence[float]
    generation: int
    """Changes when earlier rows were dropped because the run resumed from a checkpoint."""


class LiveCurve:
    """The curve in one file. Eight bytes per number: a run of 100,000 steps takes 6 MB."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._offset = 0
        self._generation = 0
        self._max_steps = 0
        self._steps = {"train": array("d"), "eval": array("d")}
        self._values = {name: array("d") for name in (*TRAIN, *SMOOTH, *EVALUATION)}

    def refresh(self) -> None:
        """Reads the lines written since the last call."""
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    file.seek(self._offset)
                    # In chunks: the file of a long run may not fit in memory.
                    while piece := file.read(_CHUNK_BYTES):
                        whole, end, _ = piece.rpartition(b"\n")
                        if not end:
                            break
                        self._offset += len(whole) + 1
                        file.seek(self._offset)
                        self._take(whole)
            except FileNotFoundError:
                return

    def column(self, name: str) -> Column:
        """Returns a copy, which is safe to read while the curve grows."""
        with self._lock:
            steps = self._steps["eval" if name in EVALUATION else "train"]
            return Column(array("d", steps), array("d", self._values[name]), self._generation)

    @property
    def max_steps(self) -> int:
        """Total steps of the run; 0 before it has begun."""
        return self._max_steps

    def _take(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            try:
                record = parse_record(line)
            except ValidationError:
                continue  # `num_malformed_lines` of the API counts them
            if isinstance(record, TrainingStarted):
                self._max_steps = record.max_steps
                self._cut(record.step)
            elif isinstance(record, StepTrained):
                self._append("train", record, TRAIN)
            elif isinstance(record, Evaluated):
                self._append("eval", record, EVALUATION)

    def _append(self, kind: str, record: StepTrained | Evaluated, names: tuple[str, ...]) -> None:
        if self._steps[kind] and self._steps[kind][-1] >= record.step:
            self._drop(kind, bisect_left(self._steps[kind], record.step))
        self._steps[kind].append(record.step)
        for name in names:
            value = getattr(record, name)
            self._values[name].append(math.nan if value is None else float(value))
        if kind == "train":
            for name, smooth in _SMOOTHED_OF.items():
                self._values[smooth].append(_next(self._values[smooth], self._values[name][-1]))

    def _cut(self, step: int) -> None:
        for kind, steps in self._steps.items():
            self._drop(kind, bisect_right(steps, step))

    def _drop(self, kind: str, first: int) -> None:
        """Drops the rows from `first` on."""
        if first == len(self._steps[kind]):
            return
        self._generation += 1
        names = EVALUATION if kind == "eval" else (*TRAIN, *SMOOTH)
        for column in (self._steps[kind], *(self._values[name] for name in names)):
            del column[first:]


def _next(before: Sequence[float], value: float) -> float:
    """Returns the next smoothed value: the mean of the first 20, then an exponential average."""
    if not before or not math.isfinite(before[-1]) or not math.isfinite(value):
        return value
    weight = max(_WEIGHT, 1 / (len(before) + 1))
    return before[-1] + weight * (value - before[-1])


class CurveCache:
    """LRU cache of curves, shared by all browsers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._curves: OrderedDict[Path, LiveCurve] = OrderedDict()

    def get(self, path: Path) -> LiveCurve:
        """Returns the up-to-date curve of this file."""
        with self._lock:
            curve = self._curves.pop(path, None) or LiveCurve(path)
            self._curves[path] = curve
            while len(self._curves) > _MAX_KEPT:
                self._curves.popitem(last=False)
        curve.refresh()
        return curve


MAX_BUCKETS = 600

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ChartDelta:
    """Update of a series: keep the first `kept` points, then append `points`."""

    kept: int
    points: tuple[Point, ...]


class ChartUpdater:
    """Tracks the points of one column that one browser has received."""

    def __init__(self, *, is_smooth: bool = False) -> None:
        self._is_smooth = is_smooth
        """Smooth curves send only the last value of each bucket."""
        self._width = 0
        self._generation = -1
        self._num_rows = 0
        self._num_final_rows = 0
        self._num_final_points = 0

    def delta(self, column: Column) -> ChartDelta | None:
        """Returns the points to send, or None if nothing changed."""
        num_rows = len(column.values)
        width = width_of(num_rows)
        if width != self._width or column.generation != self._generation:
            self._width, self._generation = width, column.generation
            self._num_rows = self._num_final_rows = self._num_final_points = 0
        elif num_rows == self._num_rows:
            return None
        kept = self._num_final_points
        points: list[Point] = []
        for first in range(self._num_final_rows, num_rows, width):
            points += self._of_bucket(column, first, min(first + width, num_rows))
            if first + width <= num_rows:
                self._num_final_rows = first + width
                self._num_final_points = kept + len(points)
        self._num_rows = num_rows
        return ChartDelta(kept, tuple(points))

    def _of_bucket(self, column: Column, first: int, end: int) -> list[Point]:
        steps, values = column.steps[first:end], column.values[first:end]
        return _last(steps, values) if self._is_smooth else _extremes(steps, values)


def width_of(num_rows: int) -> int:
    """Returns the number of rows per bucket.

    >>> [width_of(number) for number in (0, 600, 601, 100_000)]
    [1, 1, 2, 256]
    """
    width = 1
    while num_rows > width * MAX_BUCKETS:
        width *= 2
    return width


def _extremes(steps: Sequence[float], values: Sequence[float]) -> list[Point]:
    """
    >>> _extremes([1, 2, 3, 4], [5.0, 9.0, math.nan, 2.0])
    [(2, 9.0), (4, 2.0)]
    """
    rows = [row for row, value in enumerate(values) if math.isfinite(value)]
    if not rows:
        return []
    ends = {min(rows, key=values.__getitem__), max(rows, key=values.__getitem__)}
    return [(steps[row], values[row]) for row in sorted(ends)]


def _last(steps: Sequence[float], values: Sequence[float]) -> list[Point]:
    found = (row for row in range(len(values) - 1, -1, -1) if math.isfinite(values[row]))
    row = next(found, None)
    return [] if row is None else [(steps[row], values[row])]
