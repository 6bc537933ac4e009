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
from worker.execution.progress import ProgressIngester
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.job import Phase
from worker.jobs.store.serialization import HeartbeatDirective
from worker.processes.trainer_process import TrainerProcess

WATCHED: tuple[Phase, ...] = ("training", "saving")


class StallDetector:
    """Stall detector of one trainer. Uses this process's clock: clocks of file servers differ."""

    def __init__(self, progress: Path, *, limit_seconds: float) -> None:
        self._progress = progress
        self._limit_seconds = limit_seconds
        self._last_seen = self._state()
        self._heard_at = time.monotonic()

    def is_stalled(self, phase: Phase) -> bool:
        """Returns True if the trainer made no progress for longer than the limit (0: no limit).

        Call frequently: activity is timestamped when it is observed, not when it happened.
        """
        seen = self._state()
        if seen != self._last_seen or phase not in WATCHED:
            self._last_seen = seen
            self._heard_at = time.monotonic()
            return False
        return 0 < self._limit_seconds < time.monotonic() - self._heard_at

    def message(self, *, step: int) -> str:
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


class StopReason(Enum):
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
    HeartbeatDirective.PAUSE: StopReason.PAUSED,
    HeartbeatDirective.CANCEL_SAVE: StopReason.SAVED,
    HeartbeatDirective.MEMBER_STOPS: StopReason.MEMBER_STOPPED,
}


class TrainerMonitor:
    """Monitors one trainer from start to exit."""

    def __init__(
        self,
        lease: Lease,
        ingester: ProgressIngester,
        *,
        stall_detector: StallDetector,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._lease = lease
        self._ingester = ingester
        self._stall_detector = stall_detector
        self._is_stopping = is_stopping

    def run(
        self, trainer: TrainerProcess, *, poll_seconds: float, seconds_left: float | None
    ) -> StopReason:
        """Runs until the trainer has exited. Raises LostError if the lease is lost.

        `seconds_left` is the remaining part of the job's time limit.
        """
        ends_at = None if seconds_left is None else time.monotonic() + seconds_left
        stop_reason = StopReason.ENDED
        while not trainer.has_ended_within(poll_seconds):
            self._try_ingest()
            directive = self._lease.renew()
            if directive is HeartbeatDirective.CANCEL:
                trainer.kill()
                return StopReason.CANCELLED
            if directive is HeartbeatDirective.MEMBER_OVER:
                # The other node may have failed because this one did. torchrun needs a moment to
                # report that.
                if not trainer.has_ended_within(OWN_END_SECONDS):
                    trainer.kill()
                return StopReason.MEMBER_OVER
            if stop_reason is StopReason.ENDED and self._stall_detector.is_stalled(
                self._ingester.phase
            ):
                trainer.ask_for_stacks()
                trainer.has_ended_within(STACKS_SECONDS)
                trainer.kill()
                return StopReason.STALLED
            if stop_reason is StopReason.ENDED:
                stop_reason = self._requested_stop(
                    directive, is_over=ends_at is not None and _is_past(ends_at)
                )
                if stop_reason is not StopReason.ENDED:
                    trainer.stop()
        return stop_reason

    def _requested_stop(self, directive: HeartbeatDirective, *, is_over: bool) -> StopReason:
        """Returns the reason to stop the trainer, or ENDED if there is none."""
        if directive in _WISHES:
            return _WISHES[directive]
        if is_over:
            return StopReason.TIMED_OUT
        return StopReason.STOPPED if self._is_stopping() else StopReason.ENDED

    def _try_ingest(self) -> None:
        try:
            for _ in range(MAX_PORTIONS):
                if not self._ingester.ingest():
                    return
        except StoreUnavailableError as error:
            logger.warning("Redis is unavailable; progress updates are buffered: %s", error)


def _is_past(instant: float) -> bool:
    return time.monotonic() > instant
