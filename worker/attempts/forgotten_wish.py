"""Repeats a cancel, pause or resume request that a rolled-back store lost."""

from worker.jobs.errors import InvalidRequestError
from worker.jobs.life import Status
from worker.jobs.storage.job_record import JobRecord, Wish
from worker.jobs.store.store import JobStore


def carry_out(record: JobRecord, store: JobStore) -> Status:
    """Repeats the request and returns the new status of the job.

    Raises NotFoundError and StoreUnavailableError.
    """
    try:
        if record.wish is Wish.CANCEL:
            store.cancel(record.id)
        elif record.wish is Wish.PAUSE:
            store.pause(record.id)
        elif store.get(record.id).status is not Status.SUCCEEDED:
            store.resume(record.id)
    except InvalidRequestError:
        # The job already is in the requested state, or has ended.
        store.note_wish(record.id)
    return store.get(record.id).status
