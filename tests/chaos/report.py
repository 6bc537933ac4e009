"""`build/chaos/<seed>.json`: what one run did and saw; and the table of several runs."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tests.chaos.checker import Violation

_COLUMNS = (
    "seed",
    "faults",
    "jobs",
    "succeeded",
    "cancelled",
    "failed",
    "attempts",
    "resumes",
    "settled after",
    "violations",
)


class Hit(BaseModel):
    """One fault that was injected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: float
    """CLOCK_BOOTTIME in seconds, as in the witnesses' files."""
    kind: str
    target: str


class ChaosReport(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    hits: tuple[Hit, ...]
    faults: dict[str, int]
    """Faults that hit something, by kind."""
    misses: dict[str, int]
    """Faults that found nothing to hit, by kind; they don't count."""
    ends: dict[str, int]
    """Jobs by final state."""
    num_attempts: int
    num_resumes: int
    """Attempts that went on from a checkpoint."""
    seconds_to_settle: float
    """From the last fault until all jobs were in a final state."""
    num_rollbacks_with_losses: int = 0
    """Rollbacks of Redis after which changes were missing that a controller had seen."""
    seconds_to_notice: float = 0.0
    """The longest time from the server's first answer after one of these to the report of it."""
    violations: tuple[Violation, ...]

    @property
    def num_faults(self) -> int:
        return sum(self.faults.values())

    def account(self) -> str:
        """For people."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        ends = ", ".join(f"{count} {status}" for status, count in sorted(self.ends.items()))
        lines = [
            f"seed {self.seed}: {self.num_faults} faults ({kinds})",
            f"{sum(self.ends.values())} jobs: {ends}; {self.num_attempts} attempts, "
            f"{self.num_resumes} of them resumed; settled after {self.seconds_to_settle:.0f} s",
            f"{self.num_rollbacks_with_losses} rollbacks lost changes, each reported within "
            f"{self.seconds_to_notice:.1f} s",
            f"{len(self.violations)} violations",
            *(f"  {one.rule}: {one.job_id}: {one.account}" for one in self.violations),
        ]
        return "\n".join(lines)


def table(reports: Sequence[ChaosReport]) -> str:
    """A row for each run and one for all, in Markdown."""
    ordered = sorted(reports, key=lambda one: one.seed)
    rows = [[*_COLUMNS], ["---"] * len(_COLUMNS)]
    rows += [*(_row(str(one.seed), [one]) for one in ordered), _row("all", ordered)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def read_reports(paths: Sequence[Path]) -> list[ChaosReport]:
    """Raises ValidationError when a file is no report."""
    return [ChaosReport.model_validate_json(path.read_text(encoding="utf-8")) for path in paths]


def _row(name: str, reports: Sequence[ChaosReport]) -> list[str]:
    def ends(status: str) -> int:
        return sum(one.ends.get(status, 0) for one in reports)

    counts = (
        sum(one.num_faults for one in reports),
        sum(sum(one.ends.values()) for one in reports),
        *map(ends, ("succeeded", "cancelled", "failed")),
        sum(one.num_attempts for one in reports),
        sum(one.num_resumes for one in reports),
        f"{max((one.seconds_to_settle for one in reports), default=0):.0f} s",
        sum(len(one.violations) for one in reports),
    )
    return [name, *map(str, counts)]
