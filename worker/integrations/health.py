"""`python -m worker.integrations.health`: whether integrations are told from this container."""

import sys

from worker.health_probe import exit_code
from worker.integrations.settings import IntegrationSettings
from worker.jobs import keys
from worker.jobs.connection import open_redis
from worker.jobs.errors import StoreUnavailableError
from worker.keeper.presence import PRESENCE_SECONDS, KeeperPresence


def shipper_trouble(settings: IntegrationSettings) -> str | None:
    """Why the shipper of this host name does not work; None when it does."""
    with open_redis(settings.redis_url) as redis:
        try:
            if KeeperPresence(redis, key_of=keys.shipper).is_here():
                return None
        except StoreUnavailableError as error:
            return str(error)
    return f"no shipper of this host has finished a round within {PRESENCE_SECONDS:g} s"


def main() -> int:
    return exit_code(lambda: shipper_trouble(IntegrationSettings()))


if __name__ == "__main__":
    sys.exit(main())
