"""Jobs that were acknowledged and that the store does not know: it was lost, they are not."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Path
from fastapi.concurrency import run_in_threadpool

from api.errors import JobNotRestoredError
from api.services import Wired
from worker.jobs.errors import NotFoundError

_JOB_ID = re.compile(r"ftjob-[0-9a-z]{1,64}", re.ASCII)


async def told_from_unknown(
    services: Wired, job_id: Annotated[str, Path(description="The id of a job.")]
) -> AsyncIterator[None]:
    """A dependency of routes about one job: raises JobNotRestoredError instead of NotFoundError
    when the job's record is on disk."""
    try:
        yield
    except NotFoundError as error:
        if _JOB_ID.fullmatch(job_id):
            record = services.home.run_directory(job_id).job_record
            if await run_in_threadpool(record.exists):
                raise JobNotRestoredError(
                    f"job {job_id} is on disk but not in the store, which was lost or emptied; "
                    "`flant5 recover` brings it back"
                ) from error
        raise
