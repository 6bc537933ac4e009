"""Deletion of jobs, models, checkpoints and files. Returns the number of bytes freed."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.auth import Caller
from api.dependencies import Services
from api.schemas.history import CHECKPOINT_PREFIX
from api.services.recorder import disk_error
from worker.jobs.errors import InUseError, NotFoundError

_MAX_STEP_DIGITS = 12

_IS_FINISHED = "the deletion finishes once the disk works: repair the disk, or send it again"
_STAYS = "it stays unless its directory is already gone: repair the disk and send it again"
"""Checkpoints have no tombstone from which another process could continue the deletion
(`worker.jobs.deletion`)."""


def delete_job(job_id: str, *, caller: Caller, is_retry: bool, services: Services) -> int:
    """Deletes an ended job with all of its files. If the first try deleted it and only its response
    was lost, a retry gets the same response.

    Raises the errors of `Deletions`, and StorageFailedError if the disk refuses.
    """
    with _reported(f"job {job_id}", caller=caller, services=services):
        try:
            return services.deletions.delete_job(job_id)
        except NotFoundError:
            freed = services.deletions.deleted_before(
                job_id, owner=caller.owner_filter, is_retry=is_retry
            )
            if freed is None:
                raise
            return freed


def delete_model(model: str, *, caller: Caller, is_retry: bool, services: Services) -> int:
    """Deletes the final model of a job, or a checkpoint by its model id. Raises the errors of
    `delete_job`, and InvalidRequestError for a model that no job made."""
    rest = _STAYS if ":ckpt-step-" in model else _IS_FINISHED
    with _reported(f"model {model}", caller=caller, services=services, rest=rest):
        return services.deletions.delete_model_by_name(
            model, services.models, owner=caller.owner_filter, is_retry=is_retry
        )


def delete_checkpoint(
    job_id: str, checkpoint: str, *, caller: Caller, services: Services
) -> tuple[int, int]:
    """Deletes a checkpoint by its step or its id. Returns its step and the bytes freed. Raises the
    errors of `delete_job`."""
    step = _step_of(checkpoint, job_id=job_id, services=services)
    thing = f"checkpoint {checkpoint} of {job_id}"
    with _reported(thing, caller=caller, services=services, rest=_STAYS):
        return step, services.deletions.delete_checkpoint(job_id, step)


def delete_file(file_id: str, *, caller: Caller, services: Services) -> int:
    """Deletes a file. Raises NotFoundError, StorageFailedError, and InUseError if a job that has
    not ended names the file."""
    with _reported(f"file {file_id}", caller=caller, services=services):
        services.files.get(file_id, owner=caller.owner_filter)

        def refuse_in_use() -> None:
            if users := services.store.deleted.users_of_file(file_id):
                raise InUseError(f"file {file_id}", users)

        refuse_in_use()
        # Checked again: a create may have found the file meanwhile. Later ones don't find it.
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
        message = f"{thing} is not completely deleted: {error.strerror or error}; {rest}"
        raise disk_error(error, message) from error


def _seen(job_ids: tuple[str, ...], caller: Caller, services: Services) -> tuple[str, ...]:
    """Returns the jobs that the caller may see."""
    found = []
    for job_id in job_ids:
        try:
            if caller.may_see(services.store.owner_of(job_id)):
                found.append(job_id)
        except NotFoundError:
            continue
    return tuple(found)
