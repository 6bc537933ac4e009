"""Loss charts in the terminal: curves with axes, drawn with braille characters.

A cell has 2 x 4 dots. `LossCurve` keeps the losses by step at the resolution of a terminal.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from rich.text import Text

_BLANK = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot of a cell: four rows of two."""
_ROWS, _COLUMNS = len(_DOTS), len(_DOTS[0])

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PlotCurve:
    """Points in ascending x, joined by lines. Non-finite values are skipped."""

    points: Sequence[Point]
    style: str


@dataclass(frozen=True, slots=True)
class Canvas:
    """Size of the drawing area in cells, and its character set."""

    width: int
    height: int
    is_ascii: bool = False


def draw(curves: Sequence[PlotCurve], canvas: Canvas) -> list[Text]:
    """Returns `canvas.height` lines, top first. Where curves meet, the later curve's style wins.

    draw([Curve([(1, 2.0), (2, 1.0)], "")], Canvas(2, 1)) -> ["⠑⢄"]
    """
    frame = _PlotArea.around([point for curve in curves for point in _finite(curve.points)], canvas)
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
class _PlotArea:
    """The region that the canvas shows, and its size in dots."""

    left: float
    right: float
    bottom: float
    top: float
    num_columns: int
    num_rows: int

    @classmethod
    def around(cls, points: Sequence[Point], canvas: Canvas) -> "_PlotArea | None":
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


_MAX_PARTS = 4096
"""Maximum number of points: twice the dots of a very wide terminal."""


@dataclass(frozen=True, slots=True)
class _CurveSegment:
    """Consecutive steps, merged."""

    last_step: int
    total: float
    count: int


class LossCurve:
    """Points in step order, each the mean of `width` steps. The width doubles as needed."""

    def __init__(self) -> None:
        self.last: Point | None = None
        self._parts: list[_CurveSegment] = []
        self._width = 1

    @property
    def points(self) -> list[Point]:
        """A snapshot of (step, loss) points."""
        return [(part.last_step, part.total / part.count) for part in list(self._parts)]

    def put(self, step: int, loss: float | None) -> None:
        """Appends a step. A repeated step replaces the old one and all later steps.

        A non-finite loss (null in JSON) leaves a gap.
        """
        if self.last is not None and self.last[0] >= step:
            self.cut(step - 1)
        if loss is None:
            return
        self.last = step, loss
        self._parts.append(_CurveSegment(step, loss, 1))
        if len(self._parts) > 1 and self._number(self._parts[-2]) == self._number(self._parts[-1]):
            self._parts[-2:] = [_merged(self._parts[-2:])]
        if len(self._parts) > _MAX_PARTS:
            self._width *= 2
            groups = groupby(self._parts, key=self._number)
            self._parts = [_merged(list(parts)) for _, parts in groups]

    def cut(self, last_step: int) -> None:
        """Removes the points after `last_step`, within the width of a part."""
        while self._parts and self._parts[-1].last_step > last_step:
            self._parts.pop()
        self.last = self.points[-1] if self._parts else None

    def _number(self, part: _CurveSegment) -> int:
        return part.last_step // self._width


def _merged(parts: list[_CurveSegment]) -> _CurveSegment:
    total, count = sum(part.total for part in parts), sum(part.count for part in parts)
    return _CurveSegment(parts[-1].last_step, total, count)


_LABEL_WIDTH = 8
MIN_HEIGHT = 4
"""Minimum height, in lines, of a useful plot."""
TRAINING, VALIDATION = "cyan", "magenta"


def loss_plot(
    training: Sequence[Point], validation: Sequence[Point], *, canvas: Canvas
) -> list[Text]:
    """Returns `canvas.height` lines with the curves, the loss range, and the step range.

    Returns no lines for fewer than two points, or if the canvas is too small.
    """
    width = canvas.width - _LABEL_WIDTH - 2
    if canvas.height < MIN_HEIGHT or width < MIN_HEIGHT or len(training) < 2:
        return []
    curves = [PlotCurve(training, TRAINING), PlotCurve(validation, VALIDATION)]
    inside = Canvas(width, canvas.height - 1, canvas.is_ascii)
    losses = [loss for _, loss in (*training, *validation)]
    labels = {0: f"{max(losses):.3f}", inside.height - 1: f"{min(losses):.3f}"}
    edge = "|" if canvas.is_ascii else "│"
    lines = [
        Text.assemble((f"{labels.get(row, ''):>{_LABEL_WIDTH}} {edge}", "dim"), line)
        for row, line in enumerate(draw(curves, inside))
    ]
    steps = [step for step, _ in (*training, *validation)]
    first, last = f"{min(steps):.0f}", f"step {max(steps):.0f}"
    below = f"{first}{last:>{max(0, width - len(first))}}"
    return [*lines, Text(" " * (_LABEL_WIDTH + 2) + below, style="dim")]
