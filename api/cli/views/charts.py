"""Losses by step, at the resolution of a terminal."""

from dataclasses import dataclass
from itertools import groupby

from api.cli.braille import Point

_MAX_PARTS = 4096
"""Maximum number of points: twice the dots of a very wide terminal."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Consecutive steps, merged."""

    last_step: int
    total: float
    count: int


class LossCurve:
    """Points in step order, each the mean of `width` steps. The width doubles as needed."""

    def __init__(self) -> None:
        self.last: Point | None = None
        self._parts: list[_Part] = []
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
        self._parts.append(_Part(step, loss, 1))
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

    def _number(self, part: _Part) -> int:
        return part.last_step // self._width


def _merged(parts: list[_Part]) -> _Part:
    total, count = sum(part.total for part in parts), sum(part.count for part in parts)
    return _Part(parts[-1].last_step, total, count)
