"""Limits and delays of scheduling and retries."""

from dataclasses import dataclass

SUBMISSION_SECONDS = 24 * 3600
"""Time for which a submission key refers to the job that it created."""


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """All processes of one service use the same rules."""

    max_infra_retries: int = 5
    """Maximum number of attempts lost in a row without a new checkpoint. The job then fails."""
    retry_seconds: float = 2.0
    """Retry delay after the second loss in a row, in seconds. Each further loss doubles it."""
    max_waiting: int = 0
    """Maximum number of pending (queued or paused) jobs per owner; 0 disables the limit."""
    max_running: int = 0
    """Maximum number of running jobs per owner; 0 disables the limit."""
    left_seconds: float = 2.0
    """Time for which a job is reserved for smaller idle workers that can run it, in seconds."""
    gang_wait_seconds: float = 2.0
    """Time for which a worker keeps a seat in a gang without renewing it, in seconds."""
