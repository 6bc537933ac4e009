"""Dependencies that check ownership before a route runs. Objects of other owners return the same
404 as missing ones."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Path
from fastapi.concurrency import run_in_threadpool

from api.caller import Caller
from api.calling import Calling
from api.dependencies import Services, Wired
from api.http.errors import JobNotRestoredError
from worker.jobs.errors import NotFoundError
from worker.jobs.storage.job_record import Ledger
from worker.jobs.storage.tombstones import Tombstones

_JOB_ID = re.compile(r"ftjob-[0-9a-z]{1,64}", re.ASCII)


async def own_job(
    services: Wired,
    calling: Calling,
    job_id: Annotated[str, Path(description="The id of a job.")],
) -> AsyncIterator[None]:
    """Raises NotFoundError for a job that the caller may not see. If the job is missing in the
    store but recorded on disk, the store lost it. Then JobNotRestoredError replaces the route's
    NotFoundError."""
    if not _JOB_ID.fullmatch(job_id):
        # Not a valid job id: it must not become part of a path.
        raise NotFoundError(f"no job {job_id!r}")
    if not calling.sees_all:
        await run_in_threadpool(_refuse_foreign, services, calling, job_id)
    try:
        yield
    except NotFoundError as error:
        is_about_job = str(error) == f"no job {job_id!r}"
        if await run_in_threadpool(_is_lost, services, calling, job_id, is_about_job):
            raise JobNotRestoredError(
                f"job {job_id} is on disk but not in the store, which was lost or emptied; "
                "restore it with `flant5 recover`"
            ) from error
        raise


def own_file(
    services: Wired,
    calling: Calling,
    file_id: Annotated[str, Path(description="The id of a file.")],
) -> None:
    """Raises NotFoundError for a file that the caller may not see."""
    services.files.get(file_id, owner=calling.limited_to)


def _refuse_foreign(services: Services, caller: Caller, job_id: str) -> None:
    try:
        owner = services.store.owner_of(job_id)
    except NotFoundError:
        return  # the route raises it, with more details
    if not caller.may_see(owner):
        raise NotFoundError(f"no job {job_id!r}")


def _is_lost(services: Services, caller: Caller, job_id: str, was_unknown: bool) -> bool:
    """Returns True for a job whose record is on disk but not in the store. `was_unknown` means that
    the route did not find the job. The keeper may have restored it since, and a 404 would then be
    wrong."""
    if not _JOB_ID.fullmatch(job_id):
        return False
    if not was_unknown and not services.store.unknown([job_id]):
        return False
    if services.store.ended.is_forgotten(job_id) or Tombstones(services.home).has(job_id):
        return False  # it is deleted; its files may take a moment
    try:
        return caller.may_see(Ledger(services.home).read(job_id).owner)
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        # An unreadable record counts as lost, but only for admins, who can repair it.
        return caller.sees_all
