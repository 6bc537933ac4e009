"""The sign of life of a worker, busy or idle: others can see what it has and count on it.

It is told by the loop that takes the doorbells, so that a worker that takes none counts as gone.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import bootsteps

from worker.jobs.errors import StoreUnavailableError
from worker.jobs.workers import WorkerRegistry, WorkerState

logger = logging.getLogger(__name__)

BEATS_PER_PRESENCE = 4


class Presence:
    """A worker in the registry. Its registry has a connection of its own: the process forks."""

    def __init__(self, registry: WorkerRegistry, state: WorkerState, *, seconds: float) -> None:
        self._registry = registry
        self._state = state
        self._seconds = seconds
        self._is_told = True

    @property
    def beat_seconds(self) -> float:
        return self._seconds / BEATS_PER_PRESENCE

    def beat(self) -> None:
        """Says that the worker is here; nothing else depends on whether that could be said."""
        try:
            self._registry.appear(self._state, seconds=self._seconds)
            self._is_told = True
        except StoreUnavailableError as error:
            if self._is_told:
                logger.warning("this worker can't say that it is here: %s", error)
            self._is_told = False

    def leave(self) -> None:
        try:
            self._registry.leave(self._state.name)
        except StoreUnavailableError as error:
            logger.warning("this worker can't say that it leaves: %s", error)


def presence_step(beat: Callable[[], None], *, seconds: float) -> type[bootsteps.StartStopStep]:
    """The part of Celery's consumer that calls `beat` every so often, in the consumer's own loop;
    started again with the consumer, whose timer forgets everything when its connection is lost."""

    class PresenceStep(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            beat()
            consumer.timer.call_repeatedly(seconds, beat)

    return PresenceStep
