"""Heartbeat of a worker, busy or idle, with its devices; and its shutdown flag.

The loop that consumes wake-ups sends the heartbeat: a worker that consumes none counts as gone. The
worker's main process sets the flag, and its pool processes read it.
"""

import logging
import mmap
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps

from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.store.workers import WorkerRegistry, WorkerState

logger = logging.getLogger(__name__)

BEATS_PER_PRESENCE = 4
_TWIN_MARGIN_SECONDS = 1.0
_TWIN_LOOK_SECONDS = 0.25


class Presence:
    """A worker in the registry, over its own connection because the process forks."""

    def __init__(self, registry: WorkerRegistry, state: WorkerState, *, seconds: float) -> None:
        self._registry = registry
        self._state = state
        self._seconds = seconds
        self._is_told = True

    @property
    def interval_seconds(self) -> float:
        return self._seconds / BEATS_PER_PRESENCE

    def heartbeat(self) -> None:
        """Sends a heartbeat. A failure is only logged: nothing else depends on it."""
        try:
            self._registry.register(self._state, seconds=self._seconds)
            self._is_told = True
        except StoreUnavailableError as error:
            if self._is_told:
                logger.warning("heartbeat failed: %s", error)
            self._is_told = False

    def deregister(self) -> None:
        try:
            self._registry.deregister(self._state.name)
        except StoreUnavailableError as error:
            logger.warning("deregistration failed: %s", error)


def check_worker_name_is_free(
    registry: WorkerRegistry, state: WorkerState, *, seconds: float
) -> None:
    """Returns once no worker of this name is alive on another host.

    The entry of a killed worker disappears after `seconds`. A lock in HOME covers the same host,
    and other hosts if the file system's locks hold between hosts.

    Raises StartRefusedError. Without this, two workers of one name would take each other's jobs.
    """
    deadline = time.monotonic() + seconds + _TWIN_MARGIN_SECONDS
    while (twin := _twin(registry, state)) is not None:
        if time.monotonic() > deadline:
            raise StartRefusedError(
                f"a worker named {state.name!r} is alive on another host ({', '.join(twin.devices)}"
                f", {twin.job_id or 'idle'})",
                expected="a unique name for each worker",
                remedy="set FLANT5_WORKER_NAME to another name (default: the host name)",
            )
        time.sleep(_TWIN_LOOK_SECONDS)


def _twin(registry: WorkerRegistry, state: WorkerState) -> WorkerState | None:
    try:
        here = registry.all()
    except StoreUnavailableError:
        return None  # unknown; the jobs are still fenced by their epoch
    same_name = (worker for worker in here if worker.name == state.name)
    return next((each for each in same_name if each.machine not in ("", state.machine)), None)


def presence_step(
    heartbeat: Callable[[], None], *, seconds: float
) -> type[bootsteps.StartStopStep]:
    """Returns a step of Celery's consumer that calls `beat` periodically in the consumer's loop.

    The step restarts with the consumer, because its timer is cleared when the connection is lost.
    """

    class PresenceStep(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            heartbeat()
            consumer.timer.call_repeatedly(seconds, heartbeat)

    return PresenceStep


class ShutdownFlag:
    """One byte of memory, shared with all processes forked later.

    Unlike a file, it cannot be left over from an earlier run.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._memory[0] = 1

    def is_set(self) -> bool:
        return self._memory[0] == 1
