"""Handles a wake-up: probes the slots, claims a job, and runs it."""

import logging

from worker.context import WorkerContext
from worker.execution.attempt import Attempt
from worker.execution.progress import LostError
from worker.gang.member import Member
from worker.gang.seat import find_work
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.gang import Membership
from worker.jobs.logging import about
from worker.jobs.update import Claim
from worker.slots.gpu_health import probe
from worker.slots.slot_locks import HeldSlots

logger = logging.getLogger(__name__)


def run_job(job_id: str, context: WorkerContext) -> None:
    """Runs the best job that fits into the free slots, if there is one.

    `job_id`, from the wake-up, is a hint: wake-ups may be late or duplicated, and another job may
    come first.
    """
    if context.is_stopping():
        return  # the keeper sends the wake-up again
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
    sick = probe(held.slots, argv=context.probe_argv, timeout_seconds=settings.probe_seconds)
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
