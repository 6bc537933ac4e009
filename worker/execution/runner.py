"""Handles a wake-up: probes the slots, claims a job, and runs it.

For a multi-node job, it waits for the other workers.
"""

import logging
import time

from worker.context import WorkerContext
from worker.execution.attempt import Attempt
from worker.execution.gang import Member
from worker.execution.progress import LostError
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.logging import about
from worker.jobs.store.leases import Membership, PendingGang
from worker.jobs.store.serialization import Claim
from worker.slots.gpu_health import probe
from worker.slots.slot import HeldSlots

logger = logging.getLogger(__name__)


def find_work(context: WorkerContext, *, num_slots: int) -> Claim | Membership | None:
    """Claims the best job for this number of slots, or joins one that another worker leads.

    For a multi-node job this waits up to `gang_wait_seconds` for other workers. A job that becomes
    first in the queue in the meantime is claimed instead. Raises StoreUnavailableError.
    """
    settings, leases = context.settings, context.store.leases
    name, lease_seconds = settings.worker_name, settings.lease_seconds
    gives_up_at = time.monotonic() + settings.gang_wait_seconds
    sits = False
    while time.monotonic() < gives_up_at:
        if context.is_stopping():
            return context.store.gangs.leave_gang(name)
        try:
            found = leases.claim_or_wait_for_gang(
                worker=name, num_slots=num_slots, lease_seconds=lease_seconds
            )
        except StoreUnavailableError as error:
            if not sits:
                raise
            # Others may have begun in the meantime and count on this worker.
            logger.warning("still waiting for other workers: %s", error)
        else:
            if not isinstance(found, PendingGang):
                return found
            sits = True
            if found.is_new:
                logger.info("job %s: waiting for other workers", found.job_id)
                context.notifier.notify(found.job_id)
        time.sleep(settings.progress_poll_seconds)
    return leases.claim_or_join(worker=name, num_slots=num_slots, lease_seconds=lease_seconds)


def run_job(job_id: str, context: WorkerContext) -> None:
    """Runs the best job that fits into the free slots, if there is one.

    `job_id`, from the wake-up, is a hint: wake-ups may be late or duplicated, and another job may
    come first.
    """
    if context.is_stopping():
        return  # the controller sends the wake-up again
    with context.slot_locks.take_free(context.slots) as held:
        for busy in held.busy:
            logger.warning("%s", busy.reason)
        if not held.slots:
            return
        try:
            claim = _claim(held, context)
        except StoreUnavailableError as error:
            logger.warning("cannot claim a job: %s", error)
            return
        if claim is None:
            logger.info("wake-up for job %s: nothing to claim", job_id)
            return
        held.keep(claim.job.spec.hyperparameters.num_gpus)
        held.name_job(claim.job.id)
        with about(job_id=claim.job.id):
            _run(claim, held, context)


def _claim(held: HeldSlots, context: WorkerContext) -> Claim | Membership | None:
    """Claims a job, or returns None: without a match, or if a slot is unhealthy.

    Without the probe, a worker with a broken GPU would claim and fail every job.
    """
    settings = context.settings
    sick = probe(
        held.slots, argv=context.probe_argv, timeout_seconds=settings.gpu_probe_timeout_seconds
    )
    context.registry.set_health(settings.worker_name, sick)
    if sick is not None:
        logger.error("this worker takes no jobs: unhealthy slots: %s", sick)
        return None
    return find_work(context, num_slots=len(held.slots))


def _run(claim: Claim | Membership, held: HeldSlots, context: WorkerContext) -> None:
    job_id, attempt = claim.job.id, claim.job.attempt
    try:
        if isinstance(claim, Membership):
            logger.info("job %s: node %d of attempt %d begins", job_id, claim.node, attempt)
            Member(claim, held, context).run()
        else:
            logger.info("job %s: attempt %d begins", job_id, attempt)
            Attempt(claim, held, context).run()
    except LostError as error:
        logger.warning("job %s: attempt %d ends: %s", job_id, attempt, error)
    except StoreUnavailableError as error:
        logger.warning("job %s: cannot record the outcome: %s", job_id, error)
