"""Monitors a running trainer: ingests progress, renews the lease, applies requests, detects stalls.

Without stall detection, a deadlocked NCCL call or a vanished file server would hold the GPUs
forever. The trainer writes or touches `progress.jsonl` at every step
(`flant5_train.training.callbacks.reporting`). Only the `training` and `saving` phases are
monitored: reading data, loading a model and evaluation may be silent for long.
"""

import logging
import os
import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from worker.execution.lease import Lease
from worker.execution.progress import Pump
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.job import Phase
from worker.jobs.store.serialization import Beat
from worker.processes.trainer_process import TrainerProcess

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


MAX_PORTIONS = 16
"""Maximum number of chunks ingested between two checks of the trainer and the lease."""
OWN_END_SECONDS = 2.0
"""Seconds a trainer has to exit by itself after another node has ended."""

STACKS_SECONDS = 2.0
"""Seconds a stalled trainer has to write its stack traces."""

logger = logging.getLogger(__name__)


class Ending(Enum):
    """The reason why monitoring ended. From SAVED to MEMBER_STOPPED, the trainer was asked to save
    and has exited."""

    ENDED = auto()
    CANCELLED = auto()
    SAVED = auto()
    """A cancellation with a checkpoint."""
    PAUSED = auto()
    TIMED_OUT = auto()
    """The job reached its max_run_seconds."""
    STOPPED = auto()
    """The worker is shutting down."""
    MEMBER_STOPPED = auto()
    """The worker of another node is shutting down."""
    STALLED = auto()
    """The trainer made no progress for too long and was killed."""
    MEMBER_OVER = auto()
    """Another node failed or was lost. This one then exited or was killed."""


_WISHES = {
    Beat.PAUSE: Ending.PAUSED,
    Beat.CANCEL_SAVE: Ending.SAVED,
    Beat.MEMBER_STOPS: Ending.MEMBER_STOPPED,
}


class Watch:
    """Monitors one trainer from start to exit."""

    def __init__(
        self, lease: Lease, pump: Pump, *, silence: Silence, is_stopping: Callable[[], bool]
    ) -> None:
        self._lease = lease
        self._pump = pump
        self._silence = silence
        self._is_stopping = is_stopping

    def run(
        self, trainer: TrainerProcess, *, poll_seconds: float, seconds_left: float | None
    ) -> Ending:
        """Runs until the trainer has exited. Raises LostError if the lease is lost.

        `seconds_left` is the remaining part of the job's time limit.
        """
        ends_at = None if seconds_left is None else time.monotonic() + seconds_left
        ending = Ending.ENDED
        while not trainer.has_ended_within(poll_seconds):
            self._try_pump()
            beat = self._lease.keep()
            if beat is Beat.CANCEL:
                trainer.kill()
                return Ending.CANCELLED
            if beat is Beat.MEMBER_OVER:
                # The other node may have failed because this one did. torchrun needs a moment to
                # report that.
                if not trainer.has_ended_within(OWN_END_SECONDS):
                    trainer.kill()
                return Ending.MEMBER_OVER
            if ending is Ending.ENDED and self._silence.is_too_long(self._pump.phase):
                trainer.ask_for_stacks()
                trainer.has_ended_within(STACKS_SECONDS)
                trainer.kill()
                return Ending.STALLED
            if ending is Ending.ENDED:
                ending = self._wished(beat, is_over=ends_at is not None and _is_past(ends_at))
                if ending is not Ending.ENDED:
                    trainer.stop()
        return ending

    def _wished(self, beat: Beat, *, is_over: bool) -> Ending:
        """Returns the reason to stop the trainer, or ENDED if there is none."""
        if beat in _WISHES:
            return _WISHES[beat]
        if is_over:
            return Ending.TIMED_OUT
        return Ending.STOPPED if self._is_stopping() else Ending.ENDED

    def _try_pump(self) -> None:
        try:
            for _ in range(MAX_PORTIONS):
                if not self._pump.pump():
                    return
        except StoreUnavailableError as error:
            logger.warning("Redis is unavailable; progress updates are buffered: %s", error)


def _is_past(instant: float) -> bool:
    return time.monotonic() > instant
