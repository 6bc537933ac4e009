"""Tells the integrations of jobs what is due: a process for each job and integration, so that a
tracker that hangs holds up nobody, and no library of a tracker lives on in this process."""

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from worker.integrations.accounts import Account, IntegrationsFileError
from worker.integrations.assignment import assignment_for
from worker.integrations.child import Child, Problem
from worker.integrations.kinds import KINDS
from worker.integrations.settings import IntegrationSettings
from worker.jobs.errors import NotFoundError, StoreUnavailableError
from worker.jobs.job import Job
from worker.jobs.life import Status
from worker.jobs.offers import IntegrationOffers
from worker.jobs.shipments import Shipment, Shipments
from worker.jobs.store import JobStore
from worker.keeper.presence import KeeperPresence
from worker.operators_file import OperatorsFile

POLL_SECONDS = 0.5
OFFER_SECONDS = 10.0
"""Time between two times that Redis is told what is set up: it may have lost that."""
LEASE_SECONDS = 60.0
KEEP_SECONDS = 10.0
MAX_PAUSE_SECONDS = 3600.0

logger = logging.getLogger(__name__)


def pause_after(num_failed: int, *, first_seconds: float) -> float:
    """Seconds after so many failures in a row, a fifth more or less."""
    seconds = min(first_seconds * 4.0 ** min(num_failed - 1, 20), MAX_PAUSE_SECONDS)
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class Desk:
    """What of Redis the shipper uses."""

    store: JobStore
    shipments: Shipments
    offers: IntegrationOffers
    presence: KeeperPresence


class Shipper:
    """Several shippers share the work; one that is killed leaves what it had to the others."""

    def __init__(
        self, settings: IntegrationSettings, file: OperatorsFile[dict[str, Account]], desk: Desk
    ) -> None:
        self._settings = settings
        self._file = file
        self._desk = desk
        self._under_way: set[asyncio.Task[None]] = set()
        self._offer_at = 0.0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends `run`; what is under way goes on with the next shipper."""
        self._stopping.set()

    async def run(self) -> None:
        """Rounds until it is told to stop."""
        while not self._stopping.is_set():
            try:
                await self._round()
            except StoreUnavailableError as error:
                logger.warning("round not finished: %s", error)
            await self._rest(POLL_SECONDS)
        await asyncio.gather(*self._under_way)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _round(self) -> None:
        if time.monotonic() >= self._offer_at:
            await self._offer()
        await asyncio.to_thread(self._desk.presence.appear)
        num_free = self._settings.integration_max_runs - len(self._under_way)
        if num_free > 0:
            taken = await asyncio.to_thread(
                self._desk.shipments.take, limit=num_free, lease_seconds=LEASE_SECONDS
            )
            for shipment in taken:
                self._begin(shipment)

    async def _offer(self) -> None:
        try:
            self._file.refresh()
        except IntegrationsFileError as error:
            logger.error("the accounts stay as they were: %s", error)
        accounts = self._file.content.items()
        owners = {kind: account.owners for kind, account in accounts}
        namespaces = {
            kind: account.allowed_namespaces
            for kind, account in accounts
            if account.allowed_namespaces is not None
        }
        await asyncio.to_thread(self._desk.offers.offer, owners, namespaces=namespaces)
        self._offer_at = time.monotonic() + OFFER_SECONDS

    def _begin(self, shipment: Shipment) -> None:
        task = asyncio.create_task(self._ship(shipment))
        self._under_way.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                # Due again after its lease.
                logger.error("shipping %s broke off", shipment.name, exc_info=error)

        task.add_done_callback(ended)

    async def _ship(self, shipment: Shipment) -> None:
        try:
            job = await asyncio.to_thread(self._desk.store.get, shipment.job_id)
        except NotFoundError:
            await asyncio.to_thread(self._desk.shipments.done, shipment)
            return
        account = self._file.content.get(shipment.type)
        if account is None or not account.is_for(job.owner):
            problem = f"[{shipment.type}] is not in the integrations file, or not for this owner"
            await self._failed(shipment, Problem(problem))
        elif not _is_told_now(job, account, shipment.type):
            # What is to be told comes with the next start, or the end.
            await asyncio.to_thread(self._desk.shipments.done, shipment)
        else:
            await self._told(shipment, job, account)

    async def _told(self, shipment: Shipment, job: Job, account: Account) -> None:
        problem = await self._followed(shipment, job, account)
        if self._stopping.is_set() and problem is not None:
            # Due at once, for the next shipper.
            await asyncio.to_thread(self._desk.shipments.keep, shipment, lease_seconds=0)
        elif problem is not None:
            await self._failed(shipment, problem)
        else:
            await asyncio.to_thread(self._desk.shipments.done, shipment)
            logger.info("%s is told", shipment.name)

    async def _followed(self, shipment: Shipment, job: Job, account: Account) -> Problem | None:
        """What went wrong, or None when the job does not run any more and all is told."""
        directory = self._settings.home_directories.run_directory(job.id).path
        assignment = assignment_for(
            job, kind=shipment.type, run_directory=directory, account=account.revealed()
        )

        async def on_url(url: str) -> None:
            message = f"{KINDS[shipment.type].title}: {url}"
            await self._heard(shipment, url=url, message=message)

        child = await Child.start(assignment, on_url=on_url)
        keep_at = 0.0
        try:
            while not await child.ended_within(POLL_SECONDS):
                if self._stopping.is_set():
                    return Problem("stopped")
                if child.silent_seconds > self._settings.integration_timeout_seconds:
                    return Problem(f"no sign of life within {child.silent_seconds:.0f} s")
                if time.monotonic() >= keep_at:
                    keep_at = time.monotonic() + KEEP_SECONDS
                    await self._keep(shipment)
                await self._tell_end(child, shipment.job_id)
            return child.problem
        finally:
            await child.stop()

    async def _tell_end(self, child: Child, job_id: str) -> None:
        try:
            job = await asyncio.to_thread(self._desk.store.get, job_id)
        except StoreUnavailableError as error:
            logger.warning("whether %s runs is not known now: %s", job_id, error)
        except NotFoundError:
            await child.tell_end(Status.CANCELLED)  # deleted
        else:
            if job.status is not Status.RUNNING:
                await child.tell_end(job.status)

    async def _keep(self, shipment: Shipment) -> None:
        try:
            await asyncio.to_thread(
                self._desk.shipments.keep, shipment, lease_seconds=LEASE_SECONDS
            )
        except StoreUnavailableError as error:
            logger.warning("the lease of %s is not renewed: %s", shipment.name, error)

    async def _heard(self, shipment: Shipment, *, url: str, message: str) -> None:
        try:
            await asyncio.to_thread(self._desk.shipments.shown, shipment, url=url, message=message)
        except StoreUnavailableError as error:
            logger.warning("where %s is shown is not kept: %s", shipment.name, error)

    async def _failed(self, shipment: Shipment, problem: Problem) -> None:
        number = shipment.num_failed + 1
        pause = pause_after(number, first_seconds=self._settings.integration_retry_seconds)
        failing = await asyncio.to_thread(self._desk.shipments.retry, shipment, pause_seconds=pause)
        if failing is None:
            return
        may_fail = self._settings.integration_give_up_hours * 3600
        if problem.is_final or failing + pause > may_fail:
            reason = f"given up; the last try: {problem}"
            await asyncio.to_thread(self._desk.shipments.give_up, shipment, reason=reason)
            logger.error("%s: %s", shipment.name, reason)
            return
        logger.warning("%s: %s; again in %.0f s", shipment.name, problem, pause)


def _is_told_now(job: Job, account: Account, kind: str) -> bool:
    if job.started_at is None:
        return False
    if KINDS[kind].is_about_model:
        return job.status is Status.SUCCEEDED
    if account.is_told_at_the_end:
        return job.status.is_final
    return job.status is Status.RUNNING or job.status.is_final
