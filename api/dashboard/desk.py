"""Cache shared by all pages of a process: read once, shown in every browser."""

from dataclasses import dataclass, field

from api.dashboard.job_row import RowBoard
from api.dashboard.jobs.live_curve import CurveShelf


@dataclass(frozen=True, slots=True)
class Desk:
    """Cached job rows and curves; safe to lose."""

    board: RowBoard = field(default_factory=RowBoard)
    curves: CurveShelf = field(default_factory=CurveShelf)
