"""`python -m worker.integrations`: exports jobs to trackers and hubs until SIGTERM."""

import asyncio
import logging
import signal
import sys

from pydantic import ValidationError

from worker.daemon import DaemonPresence, ReloadingConfigFile
from worker.integrations.accounts import Account, IntegrationsFileError, read_accounts
from worker.integrations.settings import IntegrationSettings
from worker.integrations.sync import ExportScheduler, ExportStores
from worker.jobs.errors import StartRefusedError
from worker.jobs.settings import settings_fault
from worker.jobs.startup.start_check import wait_for_start
from worker.jobs.store import keys
from worker.jobs.store.outbox import ExportOutbox, IntegrationRegistry
from worker.jobs.store.redis import open_redis
from worker.jobs.store.store import JobStore


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = IntegrationSettings()
        file = ReloadingConfigFile(settings.integrations_file, read_accounts)
    except (ValidationError, IntegrationsFileError) as error:
        wrong = settings_fault(error) if isinstance(error, ValidationError) else error
        print(f"integrations can't run: {wrong}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        wait_for_start(
            settings.redis_url,
            settings.home_directories,
            use="reads",
            may_lose_data=settings.allow_lossy_redis,
        )
    except StartRefusedError as error:
        print(f"integrations can't run: {error}", file=sys.stderr)  # noqa: T201
        return 2
    asyncio.run(_run(settings, file))
    return 0


async def _run(
    settings: IntegrationSettings, file: ReloadingConfigFile[dict[str, Account]]
) -> None:
    with open_redis(settings.redis_url) as redis:
        store = JobStore(redis, settings.queue_policy)
        stores = ExportStores(
            store=store,
            outbox=ExportOutbox(store.scripts),
            registry=IntegrationRegistry(store.scripts),
            presence=DaemonPresence(redis, key_of=keys.integrations_process),
        )
        scheduler = ExportScheduler(settings, file, stores)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, scheduler.stop)
        await scheduler.run()


if __name__ == "__main__":
    sys.exit(main())
