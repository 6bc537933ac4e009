"""Cancel, pause and resume: carried out in the store, and on disk before they are acknowledged."""

from collections.abc import Callable
from dataclasses import dataclass

from api.services import Services
from worker.jobs.errors import InvalidRequestError
from worker.jobs.job import Job
from worker.jobs.life import Status
from worker.jobs.store import JobStore


@dataclass(frozen=True, slots=True)
class Wish:
    """Something a caller can want of a job."""

    carry_out: Callable[[JobStore, str], Job]
    is_met: Callable[[Job], bool]
    """Whether the job is already as wished, or will be."""


def _is_cancelled(job: Job) -> bool:
    return job.is_cancelling or job.status is Status.CANCELLED


def _goes_on(job: Job) -> bool:
    is_under_way = job.status in (Status.VALIDATING_FILES, Status.QUEUED, Status.RUNNING)
    return is_under_way and not job.is_cancelling and not job.is_pausing


CANCEL = Wish(lambda store, job_id: store.cancel(job_id), _is_cancelled)
CANCEL_WITH_CHECKPOINT = Wish(
    lambda store, job_id: store.cancel(job_id, with_checkpoint=True), _is_cancelled
)
PAUSE = Wish(
    lambda store, job_id: store.pause(job_id),
    lambda job: job.is_pausing or job.status is Status.PAUSED,
)
RESUME = Wish(lambda store, job_id: store.resume(job_id), _goes_on)


def fulfil(wish: Wish, job_id: str, *, is_retry: bool, services: Services) -> Job:
    """The job after the wish. A retry whose first try was carried out, and only its answer lost,
    gets the same answer.

    Raises NotFoundError, InvalidRequestError when the job is past it, and what `Recorder` does.
    """
    try:
        wish.carry_out(services.store, job_id)
    except InvalidRequestError:
        if not wish.is_met(services.store.get(job_id)):
            raise
        # The first try may have come no further than the store.
        job = services.recorder.record(job_id)
        if is_retry:
            return job
        raise
    return services.recorder.record(job_id)
