"""Runs due exports to integrations, in one process per job and integration.

Separate processes keep a hanging tracker from blocking others, and keep tracker libraries out of
this process.
"""

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from worker.daemon import DaemonPresence, ReloadingConfigFile
from worker.integrations.accounts import Account, IntegrationsFileError
from worker.integrations.export_process import ExportProblem, ExportProcess
from worker.integrations.export_task import KINDS, export_task_for
from worker.integrations.settings import IntegrationSettings
from worker.jobs.errors import NotFoundError, StoreUnavailableError
from worker.jobs.job import Job, Status
from worker.jobs.store.outbox import ExportOutbox, IntegrationRegistry, PendingExport
from worker.jobs.store.store import JobStore

POLL_SECONDS = 0.5
PUBLISH_SECONDS = 10.0
"""Seconds between two writes of the configured integrations to Redis, which may have lost them."""
LEASE_SECONDS = 60.0
KEEP_SECONDS = 10.0
MAX_PAUSE_SECONDS = 3600.0

logger = logging.getLogger(__name__)


def pause_after(num_failed: int, *, first_seconds: float) -> float:
    """Returns the delay in seconds after `num_failed` failures in a row, with 20 % jitter."""
    seconds = min(first_seconds * 4.0 ** min(num_failed - 1, 20), MAX_PAUSE_SECONDS)
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class ExportStores:
    """The Redis services that the scheduler uses."""

    store: JobStore
    outbox: ExportOutbox
    registry: IntegrationRegistry
    presence: DaemonPresence


class ExportScheduler:
    """Starts and watches export processes.

    Several schedulers share the work. If one is killed, the others take over its exports.
    """

    def __init__(
        self,
        settings: IntegrationSettings,
        file: ReloadingConfigFile[dict[str, Account]],
        stores: ExportStores,
    ) -> None:
        self._settings = settings
        self._file = file
        self._stores = stores
        self._under_way: set[asyncio.Task[None]] = set()
        self._publish_at = 0.0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Makes `run` return. The next scheduler continues running exports."""
        self._stopping.set()

    async def run(self) -> None:
        """Runs rounds until `stop` is called."""
        while not self._stopping.is_set():
            try:
                await self._round()
            except StoreUnavailableError as error:
                logger.warning("round failed; retrying: %s", error)
            await self._rest(POLL_SECONDS)
        await asyncio.gather(*self._under_way)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _round(self) -> None:
        if time.monotonic() >= self._publish_at:
            await self._publish()
        await asyncio.to_thread(self._stores.presence.register)
        num_free = self._settings.integration_max_runs - len(self._under_way)
        if num_free > 0:
            taken = await asyncio.to_thread(
                self._stores.outbox.claim_due, limit=num_free, lease_seconds=LEASE_SECONDS
            )
            for pending in taken:
                self._begin(pending)

    async def _publish(self) -> None:
        try:
            self._file.refresh()
        except IntegrationsFileError as error:
            logger.error("integrations file: invalid; keeping the previous accounts: %s", error)
        accounts = self._file.content.items()
        owners = {kind: account.owners for kind, account in accounts}
        namespaces = {
            kind: account.allowed_namespaces
            for kind, account in accounts
            if account.allowed_namespaces is not None
        }
        await asyncio.to_thread(self._stores.registry.publish, owners, namespaces=namespaces)
        self._publish_at = time.monotonic() + PUBLISH_SECONDS

    def _begin(self, pending: PendingExport) -> None:
        task = asyncio.create_task(self._export(pending))
        self._under_way.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                # Due again when its lease expires.
                logger.error("export %s: aborted", pending.name, exc_info=error)

        task.add_done_callback(ended)

    async def _export(self, pending: PendingExport) -> None:
        try:
            job = await asyncio.to_thread(self._stores.store.get, pending.job_id)
        except NotFoundError:
            await asyncio.to_thread(self._stores.outbox.ack, pending)
            return
        account = self._file.content.get(pending.type)
        if account is None or not account.is_for(job.owner):
            problem = (
                f"[{pending.type}] is missing from the integrations file, or its owners exclude "
                "this job's owner"
            )
            await self._failed(pending, ExportProblem(problem))
        elif not _is_due(job, account, pending.type):
            # The next start or the end of the job makes the export due again.
            await asyncio.to_thread(self._stores.outbox.ack, pending)
        else:
            await self._export_and_settle(pending, job, account)

    async def _export_and_settle(self, pending: PendingExport, job: Job, account: Account) -> None:
        problem = await self._run_export(pending, job, account)
        if self._stopping.is_set() and problem is not None:
            # Due at once, for the next scheduler.
            await asyncio.to_thread(self._stores.outbox.renew, pending, lease_seconds=0)
        elif problem is not None:
            await self._failed(pending, problem)
        else:
            await asyncio.to_thread(self._stores.outbox.ack, pending)
            logger.info("export %s: done", pending.name)

    async def _run_export(
        self, pending: PendingExport, job: Job, account: Account
    ) -> ExportProblem | None:
        """Runs an export process. Returns its error, or None once the job and the export ended."""
        directory = self._settings.home_directories.run_directory(job.id).path
        task = export_task_for(
            job, kind=pending.type, run_directory=directory, account=account.revealed()
        )

        async def on_url(url: str) -> None:
            message = f"{KINDS[pending.type].title}: {url}"
            await self._record_url(pending, url=url, message=message)

        child = await ExportProcess.start(task, on_url=on_url)
        keep_at = 0.0
        try:
            while not await child.ended_within(POLL_SECONDS):
                if self._stopping.is_set():
                    return ExportProblem("stopped")
                if child.silent_seconds > self._settings.integration_timeout_seconds:
                    return ExportProblem(f"no heartbeat for {child.silent_seconds:.0f} s")
                if time.monotonic() >= keep_at:
                    keep_at = time.monotonic() + KEEP_SECONDS
                    await self._renew(pending)
                await self._send_end(child, pending.job_id)
            return child.problem
        finally:
            await child.stop()

    async def _send_end(self, child: ExportProcess, job_id: str) -> None:
        try:
            job = await asyncio.to_thread(self._stores.store.get, job_id)
        except StoreUnavailableError as error:
            logger.warning("job %s: cannot read its status: %s", job_id, error)
        except NotFoundError:
            await child.send_end(Status.CANCELLED)  # deleted
        else:
            if job.status is not Status.RUNNING:
                await child.send_end(job.status)

    async def _renew(self, pending: PendingExport) -> None:
        try:
            await asyncio.to_thread(self._stores.outbox.renew, pending, lease_seconds=LEASE_SECONDS)
        except StoreUnavailableError as error:
            logger.warning("export %s: cannot renew its lease: %s", pending.name, error)

    async def _record_url(self, pending: PendingExport, *, url: str, message: str) -> None:
        try:
            await asyncio.to_thread(
                self._stores.outbox.record_url, pending, url=url, message=message
            )
        except StoreUnavailableError as error:
            logger.warning("export %s: cannot save its URL: %s", pending.name, error)

    async def _failed(self, pending: PendingExport, problem: ExportProblem) -> None:
        number = pending.num_failed + 1
        pause = pause_after(number, first_seconds=self._settings.integration_retry_seconds)
        failing = await asyncio.to_thread(self._stores.outbox.retry, pending, pause_seconds=pause)
        if failing is None:
            return
        may_fail = self._settings.integration_give_up_hours * 3600
        if problem.is_final or failing + pause > may_fail:
            reason = f"gave up; last error: {problem}"
            await asyncio.to_thread(self._stores.outbox.dead_letter, pending, reason=reason)
            logger.error("export %s: %s", pending.name, reason)
            return
        logger.warning("export %s: %s; retrying in %.0f s", pending.name, problem, pause)


def _is_due(job: Job, account: Account, kind: str) -> bool:
    if job.started_at is None:
        return False
    if KINDS[kind].is_about_model:
        return job.status is Status.SUCCEEDED
    if account.is_final_only:
        return job.status.is_final
    return job.status is Status.RUNNING or job.status.is_final
