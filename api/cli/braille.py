"""Draws curves in a terminal with braille characters: 2 x 4 dots per cell."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

_BLANK = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot of a cell: four rows of two."""
_ROWS, _COLUMNS = len(_DOTS), len(_DOTS[0])

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in ascending x, joined by lines. Non-finite values are skipped."""

    points: Sequence[Point]
    style: str


@dataclass(frozen=True, slots=True)
class Canvas:
    """Size of the drawing area in cells, and its character set."""

    width: int
    height: int
    is_ascii: bool = False


def draw(curves: Sequence[Curve], canvas: Canvas) -> list[Text]:
    """Returns `canvas.height` lines, top first. Where curves meet, the later curve's style wins.

    draw([Curve([(1, 2.0), (2, 1.0)], "")], Canvas(2, 1)) -> ["⠑⢄"]
    """
    frame = _Frame.around([point for curve in curves for point in _finite(curve.points)], canvas)
    if frame is None:
        return [Text() for _ in range(canvas.height)]
    cells: dict[tuple[int, int], tuple[int, str]] = {}
    for curve in curves:
        for x, y in _line(frame.columns_of(_finite(curve.points))):
            place = y // _ROWS, x // _COLUMNS
            bits, _ = cells.get(place, (0, ""))
            cells[place] = bits | _DOTS[y % _ROWS][x % _COLUMNS], curve.style
    return [
        Text.assemble(*(_cell(cells.get((row, column)), canvas) for column in range(canvas.width)))
        for row in range(canvas.height)
    ]


@dataclass(frozen=True, slots=True)
class _Frame:
    """The region that the canvas shows, and its size in dots."""

    left: float
    right: float
    bottom: float
    top: float
    num_columns: int
    num_rows: int

    @classmethod
    def around(cls, points: Sequence[Point], canvas: Canvas) -> "_Frame | None":
        """Returns the smallest frame around the points; None without points."""
        if not points:
            return None
        xs, ys = zip(*points, strict=True)
        dots = canvas.width * _COLUMNS, canvas.height * _ROWS
        return cls(min(xs), max(xs), min(ys), max(ys), *dots)

    def columns_of(self, points: Iterable[Point]) -> list[tuple[int, int]]:
        """Returns (column, row) of the mean of each non-empty column, left to right."""
        found: dict[int, list[float]] = {}
        for x, y in points:
            column = _scaled(x, self.left, self.right, self.num_columns)
            found.setdefault(column, []).append(y)
        return [
            (column, _scaled(sum(ys) / len(ys), self.top, self.bottom, self.num_rows))
            for column, ys in sorted(found.items())
        ]


def _scaled(value: float, low: float, high: float, count: int) -> int:
    """Maps `value` from `low`..`high` to 0..`count` - 1; to the middle if the range is empty."""
    share = 0.5 if high == low else (value - low) / (high - low)
    return min(count - 1, max(0, round(share * (count - 1))))


def _finite(points: Iterable[Point]) -> list[Point]:
    return [point for point in points if all(map(math.isfinite, point))]


def _line(dots: Sequence[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Yields the dots, and the dots that join them."""
    yield from dots[:1]
    for (x, y), (next_x, next_y) in pairwise(dots):
        num_parts = max(abs(next_x - x), abs(next_y - y), 1)
        for part in range(1, num_parts + 1):
            share = part / num_parts
            yield round(x + share * (next_x - x)), round(y + share * (next_y - y))


def _cell(found: tuple[int, str] | None, canvas: Canvas) -> tuple[str, str]:
    if found is None:
        return " ", ""
    bits, style = found
    return ("*" if canvas.is_ascii else chr(_BLANK + bits)), style
