"""One line of the table that `python -m benchmarks` prints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """Two ways to do the same, measured one after the other on the same data and machine."""

    name: str
    ours: float
    theirs: float
    ratio: float
    """Ours by theirs, or what the row's name says."""
    unit: str
    """Of `ours` and `theirs`."""
    goal: str
    """What the ratio is to be, as in ">= 40"; empty when there is none."""

    @property
    def is_good(self) -> bool:
        """Whether the ratio is what it is to be."""
        if not self.goal:
            return True
        relation, limit = self.goal.split()
        assert relation in (">=", "<="), f"goal {self.goal!r}"
        return self.ratio >= float(limit) if relation == ">=" else self.ratio <= float(limit)
