"""Cancel, pause and resume: applied in the store and written to disk before acknowledgement."""

from collections.abc import Callable
from dataclasses import dataclass

from api.dependencies import Services
from worker.jobs.errors import InvalidRequestError
from worker.jobs.job import Job
from worker.jobs.life import Status
from worker.jobs.store.store import JobStore


@dataclass(frozen=True, slots=True)
class Wish:
    """An action that a caller can request for a job."""

    carry_out: Callable[[JobStore, str], Job]
    is_met: Callable[[Job], bool]
    """Returns True if the job is already in the requested state, or on its way there."""


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
    """Applies the action and returns the job. If the first try succeeded and only its response was
    lost, a retry gets the same response.

    Raises NotFoundError, InvalidRequestError if the job's state no longer allows the action, and
    the errors of `Recorder`.
    """
    try:
        wish.carry_out(services.store, job_id)
    except InvalidRequestError:
        if not wish.is_met(services.store.get(job_id)):
            raise
        # The first try may have reached the store but not the disk.
        job = services.recorder.record(job_id)
        if is_retry:
            return job
        raise
    return services.recorder.record(job_id)
