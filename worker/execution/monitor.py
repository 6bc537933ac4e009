"""Monitors a running trainer: ingests progress, renews the lease, applies requests."""

import logging
import time
from collections.abc import Callable
from enum import Enum, auto

from worker.attempts.silence import Silence
from worker.execution.lease import Lease
from worker.execution.progress import Pump
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.update import Beat
from worker.processes.trainer_process import TrainerProcess

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
