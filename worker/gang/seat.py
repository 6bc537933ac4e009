"""Waits for other workers of a multi-node job."""

import logging
import time

from worker.context import WorkerContext
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.gang import Membership, Seat
from worker.jobs.update import Claim

logger = logging.getLogger(__name__)


def find_work(context: WorkerContext, *, num_slots: int) -> Claim | Membership | None:
    """Claims the best job for this number of slots, or joins one that another worker leads.

    For a multi-node job this waits up to `gang_seconds` for other workers. A job that becomes first
    in the queue in the meantime is claimed instead. Raises StoreUnavailableError.
    """
    settings, leases = context.settings, context.store.leases
    name, lease_seconds = settings.worker_name, settings.lease_seconds
    gives_up_at = time.monotonic() + settings.gang_seconds
    sits = False
    while time.monotonic() < gives_up_at:
        if context.is_stopping():
            return context.store.gangs.stand_up(name)
        try:
            found = leases.claim_or_sit(
                worker=name, num_slots=num_slots, lease_seconds=lease_seconds
            )
        except StoreUnavailableError as error:
            if not sits:
                raise
            # Others may have begun in the meantime and count on this worker.
            logger.warning("still waiting for other workers: %s", error)
        else:
            if not isinstance(found, Seat):
                return found
            sits = True
            if found.is_new:
                logger.info("job %s: waiting for other workers", found.job_id)
                context.doorbell.ring(found.job_id)
        time.sleep(settings.poll_seconds)
    return leases.claim_or_join(worker=name, num_slots=num_slots, lease_seconds=lease_seconds)
