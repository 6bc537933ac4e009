"""The numbers that the life of a job depends on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """The same for all processes of one service."""

    max_losses: int = 5
    """Attempts that may be lost in a row without a new checkpoint; then the job has failed."""
    retry_seconds: float = 2.0
    """Pause before the attempt after the second loss in a row; doubled with each further one."""
    max_waiting: int = 0
    """Jobs of one owner that may wait at the same time; 0: any number."""
    max_running: int = 0
    """Jobs of one owner that may run at the same time; 0: any number."""
    left_seconds: float = 2.0
    """Time for which a job is left to an idle worker that is smaller and yet large enough."""
    seat_seconds: float = 2.0
    """Time for which a worker that waits for others, at a job of several nodes, counts as there
    unless it says so again."""
