"""`python -m worker.health`: whether the worker of this container works.

Asked by the container engine every now and then: is the worker there, does it take doorbells, do
its GPUs answer. The last one is a real test as long as the worker is idle; while a job trains, the
driver has to answer, and nothing may take memory from the job.
"""

import sys
import time

from redis import Redis

from worker.health_probe import exit_code
from worker.jobs import keys
from worker.jobs.connection import open_redis, unavailable
from worker.jobs.workers import WorkerState, workers_here
from worker.settings import WorkerSettings, inherited_environment
from worker.slots.probe import probe, probe_argv_of
from worker.slots.slot import slots_of

PATIENCE_SECONDS = 10.0
"""Time an idle worker has to take a doorbell."""
LOOK_SECONDS = 0.25


def worker_trouble(settings: WorkerSettings) -> str | None:
    """Why the worker of these settings does not work, in one line; None when it does.

    Raises StoreUnavailableError, and ValueError for settings that can't be or GPUs that can't be
    listed.
    """
    name = settings.worker_name
    # Asks the driver, unless the slots are no GPUs.
    slots = slots_of(settings.slots, worker_name=name, environment=inherited_environment())
    with open_redis(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds) as redis:
        state = _state(redis, name)
        if state is None:
            return f"worker {name!r} has given no sign of life for {settings.presence_seconds:g} s"
        if state.job_id is not None:
            return None
        deadline = time.monotonic() + PATIENCE_SECONDS
        with unavailable():
            waiting = redis.lindex(keys.DOORBELLS, -1)
            # An idle worker takes a doorbell at once; the last in the list is the next.
            while waiting is not None and redis.lindex(keys.DOORBELLS, -1) == waiting:
                if time.monotonic() > deadline:
                    return f"worker {name!r} is idle and takes no doorbell"
                time.sleep(LOOK_SECONDS)
                state = _state(redis, name)
                if state is None or state.job_id is not None:
                    return None
    argv = probe_argv_of(settings.probe_command)
    return probe(slots, argv=argv, timeout_seconds=settings.probe_seconds)


def _state(redis: Redis, name: str) -> WorkerState | None:
    return next((worker for worker in workers_here(redis) if worker.name == name), None)


def main() -> int:
    return exit_code(lambda: worker_trouble(WorkerSettings()))


if __name__ == "__main__":
    sys.exit(main())
