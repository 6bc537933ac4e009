"""Loss curves of a run as a PNG, drawn with Pillow (a dependency of TensorBoard).

`History` reads the curves from the run's `progress.jsonl`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from flant5_train.protocol.metrics import EffectiveSteps
from flant5_train.protocol.progress import (
    BestChosen,
    DataRead,
    Evaluated,
    PhaseChange,
    Record,
    StepTrained,
    StoppedEarly,
    TrainingStarted,
    parse_record,
)

Point = tuple[float, float]
Color = tuple[int, int, int]

_SIZE = 1200, 540
_SCALE = 2
"""Supersampling factor: drawn larger and scaled down, for smooth lines."""
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 50, 1170, 480
_BACKGROUND, _INK, _GRID = (255, 255, 255), (60, 60, 60), (228, 228, 228)
_RAW, _SMOOTH, _VALIDATION = (176, 205, 233), (31, 104, 176), (206, 84, 28)
_SMOOTHED_SHARE = 0.05
"""Width of the moving average, as a share of the curve."""
_NUM_TICKS = 6


@dataclass(frozen=True, slots=True)
class PlotLine:
    """A curve with its name and style."""

    name: str
    points: Sequence[Point]
    color: Color
    width: int
    has_marks: bool = False


def draw_loss(path: Path, *, training: Sequence[Point], validation: Sequence[Point]) -> None:
    """Writes the curves, each (step, loss) in order of steps. Skips values that are not finite; if
    there is no value, the axes stay empty."""
    training, validation = _thinned(_finite(training)), _thinned(_finite(validation))
    lines = [
        PlotLine("training loss", training, _RAW, width=2),
        PlotLine("training loss, smoothed", _smoothed(training), _SMOOTH, width=3),
        PlotLine("validation loss", validation, _VALIDATION, width=3, has_marks=True),
    ]
    picture = _Picture.around([*training, *validation])
    picture.draw_axes()
    picture.draw([line for line in lines if line.points])
    picture.image.reduce(_SCALE).save(path, format="PNG", optimize=True)


class _Picture:
    """Canvas with axes that cover a range of steps and losses."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        self._xs, self._ys = xs, ys
        self.image = Image.new("RGB", (_SIZE[0] * _SCALE, _SIZE[1] * _SCALE), _BACKGROUND)
        self._draw = ImageDraw.Draw(self.image)
        self._font = ImageFont.load_default(size=18 * _SCALE)

    @classmethod
    def around(cls, points: Sequence[Point]) -> "_Picture":
        """Returns a picture whose axes cover the points and end at round numbers."""
        xs, ys = zip(*points, strict=True) if points else ((0.0, 1.0), (0.0, 1.0))
        return cls(_ticks(min(xs), max(xs), least=1.0), _ticks(min(ys), max(ys)))

    def draw_axes(self) -> None:
        for x in self._xs:
            self._line([(x, self._ys[0]), (x, self._ys[-1])], _GRID, width=1)
            self._text(self._place((x, self._ys[0])), f"{x:,.10g}", anchor="ma", moved=(0, 10))
        for y in self._ys:
            self._line([(self._xs[0], y), (self._xs[-1], y)], _GRID, width=1)
            self._text(self._place((self._xs[0], y)), f"{y:.6g}", anchor="rm", moved=(-10, 0))
        self._text(((_LEFT + _RIGHT) / 2 * _SCALE, _BOTTOM * _SCALE), "step", moved=(0, 32))

    def draw(self, lines: Sequence[PlotLine]) -> None:
        """Draws the curves, and the legend above them."""
        left = float(_LEFT * _SCALE)
        for line in lines:
            self._line(line.points, line.color, width=line.width)
            if line.has_marks or len(line.points) == 1:
                for point in line.points:
                    self._draw.circle(self._place(point), 5 * _SCALE, fill=line.color)
            middle = (_TOP - 22) * _SCALE
            self._draw.rectangle((left, middle - 4, left + 48, middle + 4), fill=line.color)
            left += 48 + 10 * _SCALE
            self._text((left, middle), line.name, anchor="lm")
            left += self._draw.textlength(line.name, self._font) + 30 * _SCALE

    def _place(self, point: Point) -> Point:
        x = (point[0] - self._xs[0]) / (self._xs[-1] - self._xs[0])
        y = (point[1] - self._ys[0]) / (self._ys[-1] - self._ys[0])
        across, down = _LEFT + x * (_RIGHT - _LEFT), _BOTTOM - y * (_BOTTOM - _TOP)
        return across * _SCALE, down * _SCALE

    def _line(self, points: Sequence[Point], color: Color, *, width: int) -> None:
        places = [self._place(point) for point in points]
        self._draw.line(places, fill=color, width=width * _SCALE, joint="curve")

    def _text(
        self, place: Point, text: str, *, anchor: str = "ma", moved: tuple[int, int] = (0, 0)
    ) -> None:
        across, down = place[0] + moved[0] * _SCALE, place[1] + moved[1] * _SCALE
        self._draw.text((across, down), text, fill=_INK, font=self._font, anchor=anchor)


def _finite(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if all(map(math.isfinite, point))]


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Reduces the points to at most one per image column: means of runs of equal length."""
    length = math.ceil(len(points) / (_RIGHT - _LEFT)) or 1
    runs = (points[start : start + length] for start in range(0, len(points), length))
    return [(_mean([x for x, _ in run]), _mean([y for _, y in run])) for run in runs]


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """Returns the centered moving average, with a narrower window towards the ends."""
    reach = round(len(points) * _SMOOTHED_SHARE / 2)
    ys = [y for _, y in points]
    found = []
    for index, (x, _) in enumerate(points):
        near = min(reach, index, len(points) - 1 - index)
        found.append((x, _mean(ys[index - near : index + near + 1])))
    return found


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers)


def _ticks(low: float, high: float, *, least: float = 0.0) -> list[float]:
    """Returns round numbers from at or below `low` to at or above `high`, at least `least` apart.

    >>> _ticks(0.13, 3.9)
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    if low == high:
        low, high = low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2
    rough = (high - low) / _NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(least, next(each * power for each in (1, 2, 5, 10) if each * power >= rough))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class History:
    """Effective steps and evaluations of a run, without work that was lost and repeated."""

    steps: tuple[StepTrained, ...]
    evaluations: tuple[Evaluated, ...]
    data: Mapping[str, Mapping[str, object]]
    """The report of each split."""
    start: TrainingStarted | None
    best: BestChosen | None
    early_stop: StoppedEarly | None

    @classmethod
    def read(cls, path: Path) -> "History":
        records = _last_run(_records(path))
        kept = EffectiveSteps()
        for record in records:
            kept.update(record)
        return cls(
            steps=tuple(kept.steps.values()),
            evaluations=tuple(kept.evaluations.values()),
            data={each.split: each.report for each in records if isinstance(each, DataRead)},
            start=_last(TrainingStarted, records),
            best=_last(BestChosen, records),
            early_stop=_last(StoppedEarly, records),
        )

    @property
    def of_model(self) -> Evaluated | None:
        """The evaluation of the final weights; None when there was none."""
        step = self.best.step if self.best else self.steps[-1].step if self.steps else None
        found = [evaluation for evaluation in self.evaluations if evaluation.step == step]
        return found[-1] if found else None


Found = TypeVar("Found", TrainingStarted, BestChosen, StoppedEarly)


def _last(kind: type[Found], records: list[Record]) -> Found | None:
    found = [record for record in records if isinstance(record, kind)]
    return found[-1] if found else None


def _last_run(records: list[Record]) -> list[Record]:
    """Drops the records of earlier runs in the directory that this run did not resume."""
    starts = [
        index
        for index, record in enumerate(records)
        if isinstance(record, TrainingStarted) and record.step == 0
    ]
    begins = [
        index
        for index, record in enumerate(records[: starts[-1]] if starts else [])
        if isinstance(record, PhaseChange) and record.phase == "preprocessing"
    ]
    return records[begins[-1] :] if begins else records


def _records(path: Path) -> list[Record]:
    found = []
    with path.open("rb") as file:
        for line in file:
            try:
                found.append(parse_record(line))
            except ValidationError:
                # A truncated line, or one of another version. An incomplete card is better than a
                # lost model.
                continue
    return found
