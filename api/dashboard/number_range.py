"""Number ranges of form fields, read from pydantic metadata."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from annotated_types import Ge, Gt, Le, Lt


@dataclass(frozen=True, slots=True)
class NumberRange:
    """A range whose limits may be exclusive."""

    least: float | None = None
    most: float | None = None
    excludes_least: bool = False
    excludes_most: bool = False

    @classmethod
    def of(cls, metadata: Iterable[object]) -> Self:
        """Returns the range in the metadata of a pydantic field."""
        found: dict[str, float | bool] = {}
        for each in metadata:
            if isinstance(each, Ge | Gt):
                least = each.ge if isinstance(each, Ge) else each.gt
                found |= {"least": float(least), "excludes_least": isinstance(each, Gt)}  # type: ignore[arg-type]
            elif isinstance(each, Le | Lt):
                most = each.le if isinstance(each, Le) else each.lt
                found |= {"most": float(most), "excludes_most": isinstance(each, Lt)}  # type: ignore[arg-type]
        return cls(**found)  # type: ignore[arg-type]

    def __contains__(self, value: float) -> bool:
        is_high_enough = self.least is None or (
            value >= self.least if not self.excludes_least else value > self.least
        )
        is_low_enough = self.most is None or (
            value <= self.most if not self.excludes_most else value < self.most
        )
        return is_high_enough and is_low_enough

    def __str__(self) -> str:
        """Describes the range; '' without limits.

        >>> [str(NumberRange(*limits)) for limits in ((0, 1), (0, 1, True), (0, 1, False, True))]
        ['0 to 1', 'above 0, to 1', '0 to below 1']
        >>> [str(NumberRange(*limits)) for limits in ((1,), (0, None, True), (None, 9), ())]
        ['at least 1', 'above 0', 'at most 9', '']
        """
        if self.least is None or self.most is None:
            return self._low or self._high
        if self.excludes_least:
            return f"above {self.least:g}, {self._end}"
        return f"{self.least:g} {self._end}"

    @property
    def _low(self) -> str:
        if self.least is None:
            return ""
        return f"{'above' if self.excludes_least else 'at least'} {self.least:g}"

    @property
    def _high(self) -> str:
        if self.most is None:
            return ""
        return f"{'below' if self.excludes_most else 'at most'} {self.most:g}"

    @property
    def _end(self) -> str:
        return f"to {'below ' if self.excludes_most else ''}{self.most:g}"
