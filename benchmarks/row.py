"""One line of the table that `python -m benchmarks` prints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """Two implementations, measured one after the other on the same data and machine."""

    name: str
    ours: float
    theirs: float
    ratio: float
    """Ours divided by theirs, unless the row's name defines it otherwise."""
    unit: str
    """Unit of `ours` and `theirs`."""
    goal: str
    """Goal for the ratio, as in ">= 40"; empty if there is none."""

    @property
    def is_good(self) -> bool:
        """Returns True if the ratio reaches its goal."""
        if not self.goal:
            return True
        relation, limit = self.goal.split()
        assert relation in (">=", "<="), f"goal {self.goal!r}"
        return self.ratio >= float(limit) if relation == ">=" else self.ratio <= float(limit)
