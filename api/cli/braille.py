"""Curves in a terminal, drawn with the dots of braille characters: 2 x 4 of them in each cell."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

_BLANK = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a cell: four rows of two."""
_ROWS, _COLUMNS = len(_DOTS), len(_DOTS[0])

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points by rising x, joined by lines; numbers that are not finite are left out."""

    points: Sequence[Point]
    style: str


@dataclass(frozen=True, slots=True)
class Canvas:
    """How many cells there are to draw on, and whether only ASCII can be shown."""

    width: int
    height: int
    is_ascii: bool = False


def draw(curves: Sequence[Curve], canvas: Canvas) -> list[Text]:
    """`canvas.height` lines, the top one first; where curves meet, the later one's style is seen.

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
    """Which part of the plane the canvas shows, and in how many dots."""

    left: float
    right: float
    bottom: float
    top: float
    num_columns: int
    num_rows: int

    @classmethod
    def around(cls, points: Sequence[Point], canvas: Canvas) -> "_Frame | None":
        """The smallest one; None when there is nothing to show."""
        if not points:
            return None
        xs, ys = zip(*points, strict=True)
        dots = canvas.width * _COLUMNS, canvas.height * _ROWS
        return cls(min(xs), max(xs), min(ys), max(ys), *dots)

    def columns_of(self, points: Iterable[Point]) -> list[tuple[int, int]]:
        """(column, row) of the mean of the points in each column that has any, left to right."""
        found: dict[int, list[float]] = {}
        for x, y in points:
            column = _scaled(x, self.left, self.right, self.num_columns)
            found.setdefault(column, []).append(y)
        return [
            (column, _scaled(sum(ys) / len(ys), self.top, self.bottom, self.num_rows))
            for column, ys in sorted(found.items())
        ]


def _scaled(value: float, low: float, high: float, count: int) -> int:
    """Where `value` lies among `count` places from `low` to `high`; in the middle of no range."""
    share = 0.5 if high == low else (value - low) / (high - low)
    return min(count - 1, max(0, round(share * (count - 1))))


def _finite(points: Iterable[Point]) -> list[Point]:
    return [point for point in points if all(map(math.isfinite, point))]


def _line(dots: Sequence[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """The dots, and those between each and the next one."""
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
