"""Deletes what a caller names, and answers with the number of bytes that this has freed."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.caller import Caller
from api.recorder import disk_error
from api.schemas.history import CHECKPOINT_PREFIX
from api.services import Services
from worker.jobs.errors import InUseError, NotFoundError

_MAX_STEP_DIGITS = 12

_IS_FINISHED = "what was begun is finished as soon as the disk lets it: mend that, or send it again"
_STAYS = "unless its directory is gone by now, it stays: mend that, and send it again"
"""A checkpoint has no tombstone by which somebody else could go on (`worker.jobs.deletion`)."""


def delete_job(job_id: str, *, caller: Caller, is_retry: bool, services: Services) -> int:
    """An ended job with all that it has left. A retry whose first try has deleted it, and only its
    answer was lost, gets the same answer.

    Raises what `Deletions` does, and StorageFailedError when the disk refuses.
    """
    with _reported(f"job {job_id}", caller=caller, services=services):
        try:
            return services.deletions.delete_job(job_id)
        except NotFoundError:
            freed = services.deletions.deleted_before(
                job_id, owner=caller.limited_to, is_retry=is_retry
            )
            if freed is None:
                raise
            return freed


def delete_model(model: str, *, caller: Caller, is_retry: bool, services: Services) -> int:
    """The final model of a job, or one of its checkpoints by the id that it has as a model. Raises
    as `delete_job` does, and InvalidRequestError for a model that no job has made."""
    rest = _STAYS if ":ckpt-step-" in model else _IS_FINISHED
    with _reported(f"model {model}", caller=caller, services=services, rest=rest):
        return services.models.delete(model, owner=caller.limited_to, is_retry=is_retry)


def delete_checkpoint(
    job_id: str, checkpoint: str, *, caller: Caller, services: Services
) -> tuple[int, int]:
    """A checkpoint by its step or its id: its step, and the bytes. Raises as `delete_job` does."""
    step = _step_of(checkpoint, job_id=job_id, services=services)
    thing = f"checkpoint {checkpoint} of {job_id}"
    with _reported(thing, caller=caller, services=services, rest=_STAYS):
        return step, services.deletions.delete_checkpoint(job_id, step)


def delete_file(file_id: str, *, caller: Caller, services: Services) -> int:
    """A file. Raises NotFoundError, InUseError when a job that has not ended names it, and
    StorageFailedError."""
    with _reported(f"file {file_id}", caller=caller, services=services):
        services.files.get(file_id, owner=caller.limited_to)

        def refuse_in_use() -> None:
            if users := services.store.ended.users_of_file(file_id):
                raise InUseError(f"file {file_id}", users)

        refuse_in_use()
        # Once more: a create may have found the file meanwhile. Those that come now don't.
        return services.files.delete(file_id, confirm=refuse_in_use)


def _step_of(checkpoint: str, *, job_id: str, services: Services) -> int:
    if checkpoint.isascii() and checkpoint.isdigit() and len(checkpoint) <= _MAX_STEP_DIGITS:
        return int(checkpoint)
    for each in services.history.checkpoints(job_id, limit=10_000).items:
        if CHECKPOINT_PREFIX + each.id == checkpoint:
            return each.step
    raise NotFoundError(f"no checkpoint {checkpoint!r} in job {job_id}")


@contextmanager
def _reported(
    thing: str, *, caller: Caller, services: Services, rest: str = _IS_FINISHED
) -> Iterator[None]:
    try:
        yield
    except InUseError as error:
        raise InUseError(error.thing, _seen(error.users, caller, services)) from error
    except OSError as error:
        message = f"{thing} is not deleted as a whole: {error.strerror or error}; {rest}"
        raise disk_error(error, message) from error


def _seen(job_ids: tuple[str, ...], caller: Caller, services: Services) -> tuple[str, ...]:
    """Returns the jobs that exist for the caller."""
    found = []
    for job_id in job_ids:
        try:
            if caller.may_see(services.store.owner_of(job_id)):
                found.append(job_id)
        except NotFoundError:
            continue
    return tuple(found)
