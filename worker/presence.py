"""The sign of life of a worker, busy or idle: others can see what it has and count on it.

It is told by the loop that takes the doorbells, so that a worker that takes none counts as gone.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps

from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.workers import WorkerRegistry, WorkerState

logger = logging.getLogger(__name__)

BEATS_PER_PRESENCE = 4
_TWIN_MARGIN_SECONDS = 1.0
_TWIN_LOOK_SECONDS = 0.25


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


def refuse_twin(registry: WorkerRegistry, state: WorkerState, *, seconds: float) -> None:
    """Returns when no worker of this name shows itself on another host; one that was killed does
    so for `seconds` at most. A lock in HOME finds one on the same host, and on others where the
    file system has locks that hold between hosts.

    Raises StartRefusedError. Two workers of one name would take each other's jobs.
    """
    deadline = time.monotonic() + seconds + _TWIN_MARGIN_SECONDS
    while (twin := _twin(registry, state)) is not None:
        if time.monotonic() > deadline:
            raise StartRefusedError(
                f"a worker named {state.name!r} is alive on another host ({', '.join(twin.devices)}"
                f", {twin.job_id or 'idle'})",
                expected="a name of its own for each worker",
                remedy="give this one another FLANT5_WORKER_NAME (by default it is the host's "
                "name)",
            )
        time.sleep(_TWIN_LOOK_SECONDS)


def _twin(registry: WorkerRegistry, state: WorkerState) -> WorkerState | None:
    try:
        here = registry.all()
    except StoreUnavailableError:
        return None  # it can't be known; its jobs are fenced by their epoch all the same
    same_name = (worker for worker in here if worker.name == state.name)
    return next((each for each in same_name if each.machine not in ("", state.machine)), None)


def presence_step(beat: Callable[[], None], *, seconds: float) -> type[bootsteps.StartStopStep]:
    """The part of Celery's consumer that calls `beat` every so often, in the consumer's own loop;
    started again with the consumer, whose timer forgets everything when its connection is lost."""

    class PresenceStep(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            beat()
            consumer.timer.call_repeatedly(seconds, beat)

    return PresenceStep
