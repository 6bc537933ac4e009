"""`python -m worker.integrations.health`: health check of this container's scheduler."""

import sys

from worker.daemon import PRESENCE_SECONDS, DaemonPresence, exit_code
from worker.integrations.settings import IntegrationSettings
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.store import keys
from worker.jobs.store.redis import open_redis


def integrations_trouble(settings: IntegrationSettings) -> str | None:
    """Returns the problem of this host's scheduler, or None if it is healthy."""
    with open_redis(settings.redis_url) as redis:
        try:
            if DaemonPresence(redis, key_of=keys.integrations_process).is_alive():
                return None
        except StoreUnavailableError as error:
            return str(error)
    return f"no export scheduler on this host has finished a round within {PRESENCE_SECONDS:g} s"


def main() -> int:
    return exit_code(lambda: integrations_trouble(IntegrationSettings()))


if __name__ == "__main__":
    sys.exit(main())
