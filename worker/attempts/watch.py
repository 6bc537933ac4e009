"""The watch over a running trainer: news go out, the lease is kept, wishes are carried out."""

import logging
import time
from collections.abc import Callable
from enum import Enum, auto

from worker.attempts.lease import Lease
from worker.attempts.pump import Pump
from worker.attempts.silence import Silence
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.update import Beat
from worker.processes.trainer_process import TrainerProcess

MAX_PORTIONS = 16
"""Portions pumped between two looks at the trainer and the lease."""
OWN_END_SECONDS = 2.0
"""Time a trainer gets to end by itself when another node has."""

STACKS_SECONDS = 2.0
"""Time a trainer that hangs gets to write where it does."""

logger = logging.getLogger(__name__)


class Ending(Enum):
    """Why the watch over a trainer ended; from SAVED to MEMBER_STOPPED it was asked to save,
    and has ended."""

    ENDED = auto()
    CANCELLED = auto()
    SAVED = auto()
    """For a cancellation with a checkpoint."""
    PAUSED = auto()
    TIMED_OUT = auto()
    """The job's own limit of time is used up."""
    STOPPED = auto()
    """The worker stops."""
    MEMBER_STOPPED = auto()
    """The worker of another node stops."""
    STALLED = auto()
    """The trainer said nothing for too long, and was killed."""
    MEMBER_OVER = auto()
    """Another node has failed or is lost, and so this one has ended or was killed."""


_WISHES = {
    Beat.PAUSE: Ending.PAUSED,
    Beat.CANCEL_SAVE: Ending.SAVED,
    Beat.MEMBER_STOPS: Ending.MEMBER_STOPPED,
}


class Watch:
    """One trainer, from its start to its end."""

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
        """Returns when the trainer is gone. Raises LostError when the lease is.

        `seconds_left` is what the job's limit of time leaves for this attempt.
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
                # The other node may have failed because this one did, and torchrun needs a moment
                # to say so.
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
        """ENDED when nobody wants the trainer to stop."""
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
            logger.warning("news wait for Redis: %s", error)


def _is_past(instant: float) -> bool:
    return time.monotonic() > instant
