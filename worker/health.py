"""`python -m worker.health`: health check of this container's worker.

The container engine runs it periodically. It checks that the worker is alive, that it consumes
wake-ups, and that its GPUs work. The GPU test runs only while the worker is idle: while a job
trains, only the driver is queried, so no memory is taken from the job.
"""

import sys
import time

from redis import Redis

from worker.daemon import exit_code
from worker.jobs.store import keys
from worker.jobs.store.redis import open_redis, translate_redis_errors
from worker.jobs.store.workers import WorkerState, live_workers
from worker.settings import WorkerSettings, inherited_environment
from worker.slots.gpu_health import probe, probe_argv_of
from worker.slots.slot import slots_of

PATIENCE_SECONDS = 10.0
"""Seconds within which an idle worker must consume a wake-up."""
LOOK_SECONDS = 0.25


def worker_trouble(settings: WorkerSettings) -> str | None:
    """Returns one line with the problem of the worker, or None if it is healthy.

    Raises StoreUnavailableError, and ValueError if settings are invalid or GPUs cannot be listed.
    """
    name = settings.worker_name
    # Queries the driver, unless the slots are CPU slots.
    slots = slots_of(settings.slots, worker_name=name, environment=inherited_environment())
    with open_redis(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds) as redis:
        state = _state(redis, name)
        if state is None:
            return f"worker {name!r} has sent no heartbeat for {settings.worker_ttl_seconds:g} s"
        if state.job_id is not None:
            return None
        deadline = time.monotonic() + PATIENCE_SECONDS
        with translate_redis_errors():
            waiting = redis.lindex(keys.NOTIFICATIONS, -1)
            # An idle worker consumes a wake-up at once. The last in the list is the next.
            while waiting is not None and redis.lindex(keys.NOTIFICATIONS, -1) == waiting:
                if time.monotonic() > deadline:
                    return (
                        f"worker {name!r} is idle, but has consumed no wake-up for "
                        f"{PATIENCE_SECONDS:g} s"
                    )
                time.sleep(LOOK_SECONDS)
                state = _state(redis, name)
                if state is None or state.job_id is not None:
                    return None
    argv = probe_argv_of(settings.probe_command)
    return probe(slots, argv=argv, timeout_seconds=settings.gpu_probe_timeout_seconds)


def _state(redis: Redis, name: str) -> WorkerState | None:
    return next((worker for worker in live_workers(redis) if worker.name == name), None)


def main() -> int:
    return exit_code(lambda: worker_trouble(WorkerSettings()))


if __name__ == "__main__":
    sys.exit(main())
