"""Downsamples long curves to about 1,000 points and computes updates for the browser.

Rows are grouped into buckets of equal width, a power of two. Each bucket keeps its minimum and
maximum, which preserves spikes. While a curve grows, only its last bucket changes. When the width
doubles, all points are sent again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from api.dashboard.jobs.live_curve import Column

MAX_BUCKETS = 600

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Delta:
    """Update of a series: keep the first `kept` points, then append `points`."""

    kept: int
    points: tuple[Point, ...]


class PointSender:
    """Tracks the points of one column that one browser has received."""

    def __init__(self, *, is_smooth: bool = False) -> None:
        self._is_smooth = is_smooth
        """Smooth curves send only the last value of each bucket."""
        self._width = 0
        self._generation = -1
        self._num_rows = 0
        self._num_final_rows = 0
        self._num_final_points = 0

    def delta(self, column: Column) -> Delta | None:
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
        return Delta(kept, tuple(points))

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
