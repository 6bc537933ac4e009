"""`python -m worker.webhooks`: sends webhooks for ended jobs until SIGTERM."""

import asyncio
import logging
import signal
import sys

from pydantic import ValidationError

from worker.daemon import DaemonPresence, ReloadingConfigFile
from worker.jobs.errors import StartRefusedError
from worker.jobs.http_client import NetworkSettingsError
from worker.jobs.settings import settings_fault
from worker.jobs.startup.start_check import wait_for_start
from worker.jobs.store import keys
from worker.jobs.store.outbox import WebhookOutbox
from worker.jobs.store.redis import Scripts, open_redis
from worker.webhooks.endpoints import Endpoint, WebhookSettings, WebhooksFileError, read_endpoints
from worker.webhooks.sender import Sender


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # httpx logs each URL, and URLs may contain secrets.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = WebhookSettings()
        file = ReloadingConfigFile(settings.webhooks_file, read_endpoints)
        wait_for_start(
            settings.redis_url,
            settings.home_directories,
            use="may lack",
            may_lose_data=settings.allow_lossy_redis,
        )
        asyncio.run(_send(settings, file))
    except ValidationError as error:
        print(f"webhooks can't be sent: {settings_fault(error)}", file=sys.stderr)  # noqa: T201
        return 2
    except (WebhooksFileError, NetworkSettingsError, StartRefusedError) as error:
        print(f"webhooks can't be sent: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


async def _send(settings: WebhookSettings, file: ReloadingConfigFile[tuple[Endpoint, ...]]) -> None:
    with open_redis(settings.redis_url) as redis:
        presence = DaemonPresence(redis, key_of=keys.webhook_sender)
        sender = Sender(
            settings, file, WebhookOutbox(Scripts(redis, settings.queue_policy)), presence
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, sender.stop)
        await sender.run()


if __name__ == "__main__":
    sys.exit(main())
