"""Detects stalled trainers.

Without this, a deadlocked NCCL call or a vanished file server would hold the GPUs forever.

The trainer writes or touches `progress.jsonl` at every step (`flant5_train.sign_of_life`). Only the
`training` and `saving` phases are monitored: reading data, loading a model and evaluation may be
silent for long.
"""

import os
import time
from pathlib import Path

from worker.jobs.job import Phase

WATCHED: tuple[Phase, ...] = ("training", "saving")


class Silence:
    """Stall detector of one trainer. Uses this process's clock: clocks of file servers differ."""

    def __init__(self, progress: Path, *, limit_seconds: float) -> None:
        self._progress = progress
        self._limit_seconds = limit_seconds
        self._last_seen = self._state()
        self._heard_at = time.monotonic()

    def is_too_long(self, phase: Phase) -> bool:
        """Returns True if the trainer made no progress for longer than the limit (0: no limit).

        Call frequently: activity is timestamped when it is observed, not when it happened.
        """
        seen = self._state()
        if seen != self._last_seen or phase not in WATCHED:
            self._last_seen = seen
            self._heard_at = time.monotonic()
            return False
        return 0 < self._limit_seconds < time.monotonic() - self._heard_at

    def words(self, *, step: int) -> str:
        """Returns the error message of a stall after this step."""
        when = f"after step {step}" if step else "before the first step"
        return (
            f"training stalled: no progress for {self._limit_seconds:,g} s {when} "
            "(FLANT5_STALL_SECONDS). The trainer was killed; the log contains stack traces of its "
            "processes."
        )

    def _state(self) -> tuple[int, int] | None:
        """Returns size and modification time, or None while the file does not exist."""
        try:
            found = os.stat(self._progress)
        except (FileNotFoundError, NotADirectoryError):
            return None  # the next access to the run directory reports any other problem
        return found.st_size, found.st_mtime_ns
