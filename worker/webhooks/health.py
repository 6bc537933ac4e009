"""`python -m worker.webhooks.health`: health check of this container's webhook sender."""

import sys

from worker.daemon import PRESENCE_SECONDS, DaemonPresence, exit_code
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.store import keys
from worker.jobs.store.redis import open_redis
from worker.webhooks.endpoints import WebhookSettings


def sender_trouble(settings: WebhookSettings) -> str | None:
    """Returns the problem of this host's sender, or None if it is healthy."""
    with open_redis(settings.redis_url) as redis:
        try:
            if DaemonPresence(redis, key_of=keys.webhook_sender).is_alive():
                return None
        except StoreUnavailableError as error:
            return str(error)
    return f"no webhook sender on this host has finished a round within {PRESENCE_SECONDS:g} s"


def main() -> int:
    return exit_code(lambda: sender_trouble(WebhookSettings()))


if __name__ == "__main__":
    sys.exit(main())
