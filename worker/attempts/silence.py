"""How long a trainer has said nothing where it should: it may hang for ever otherwise, and hold
its GPUs (a deadlock of NCCL, a file server that is gone).

It writes `progress.jsonl`, or touches it, at every step (`flant5_train.sign_of_life`). What is
silent by nature is not watched: reading of data, loading of a model, evaluations.
"""

import os
import time
from pathlib import Path

from worker.jobs.job import Phase

WATCHED: tuple[Phase, ...] = ("training", "saving")


class Silence:
    """Of one trainer. Its clock is ours alone: those of hosts and of file servers differ."""

    def __init__(self, progress: Path, *, limit_seconds: float) -> None:
        self._progress = progress
        self._limit_seconds = limit_seconds
        self._last_seen = self._state()
        self._heard_at = time.monotonic()

    def is_too_long(self, phase: Phase) -> bool:
        """Whether the trainer, in this phase now, has been silent for longer than the limit; one
        of 0 is none. Look often: what comes between two looks counts as heard at the second."""
        seen = self._state()
        if seen != self._last_seen or phase not in WATCHED:
            self._last_seen = seen
            self._heard_at = time.monotonic()
            return False
        return 0 < self._limit_seconds < time.monotonic() - self._heard_at

    def words(self, *, step: int) -> str:
        """What is said of a silence that was too long, after that step."""
        when = f"after step {step}" if step else "before its first step"
        return (
            f"the trainer said nothing for {self._limit_seconds:,g} s {when} and was ended "
            "(FLANT5_STALL_SECONDS); where its processes were is in the log"
        )

    def _state(self) -> tuple[int, int] | None:
        """None as long as there is no such file."""
        try:
            found = os.stat(self._progress)
        except (FileNotFoundError, NotADirectoryError):
            return None  # what else is wrong with the run directory, its first user says
        return found.st_size, found.st_mtime_ns
