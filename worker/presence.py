"""The sign of life of a worker, busy or idle: others can see what it has and count on it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker.context import WorkerContext
from worker.jobs.connection import open_redis
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.workers import WorkerRegistry, WorkerState

logger = logging.getLogger(__name__)

_BEATS_PER_PRESENCE = 4


@contextmanager
def presence(context: WorkerContext) -> Iterator[None]:
    """The worker is in the registry until the block ends.

    A thread of the main process tells it, over a connection of its own: the process forks.
    """
    state = WorkerState(
        name=context.settings.worker_name,
        devices=tuple(slot.name for slot in context.slots),
    )
    settings = context.settings
    is_over = threading.Event()
    with open_redis(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds) as redis:
        registry = WorkerRegistry(redis)
        args = (registry, state, settings.presence_seconds, is_over)
        thread = threading.Thread(target=_appear, args=args, name="presence", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            _leave(registry, state.name)


def _appear(
    registry: WorkerRegistry, state: WorkerState, seconds: float, is_over: threading.Event
) -> None:
    is_told = True
    while True:
        try:
            registry.appear(state, seconds=seconds)
            is_told = True
        except StoreUnavailableError as error:
            if is_told:
                logger.warning("this worker can't say that it is here: %s", error)
            is_told = False
        if is_over.wait(seconds / _BEATS_PER_PRESENCE):
            return


def _leave(registry: WorkerRegistry, name: str) -> None:
    try:
        registry.leave(name)
    except StoreUnavailableError as error:
        logger.warning("this worker can't say that it leaves: %s", error)
