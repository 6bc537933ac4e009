"""`python -m worker.controller.health`: health check of this container's controller."""

import sys

from worker.daemon import PRESENCE_SECONDS, DaemonPresence, exit_code
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.store.redis import open_redis
from worker.settings import WorkerSettings


def controller_trouble(settings: WorkerSettings) -> str | None:
    """Returns the problem of this host's controller, or None if it is healthy."""
    with open_redis(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds) as redis:
        try:
            if DaemonPresence(redis).is_alive():
                return None
        except StoreUnavailableError as error:
            return str(error)
    return f"no controller on this host has finished a round within {PRESENCE_SECONDS:g} s"


def main() -> int:
    return exit_code(lambda: controller_trouble(WorkerSettings()))


if __name__ == "__main__":
    sys.exit(main())
