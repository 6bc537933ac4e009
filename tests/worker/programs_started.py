"""Workers and controllers as programs: started in a workshop, given jobs, waited for."""

import subprocess
from collections.abc import Callable

from tests.worker.scenes import spec, wait_until
from tests.worker.workshop import Workshop
from worker.jobs.job import Job, Status

Process = subprocess.Popen[bytes]
Start = Callable[..., Process]


def submit(workshop: Workshop, **parameters: int) -> Job:
    workshop.data.write_text("{}")
    return workshop.store.create(spec(training_file="data.json", hyperparameters=parameters))


def wait_for_status(workshop: Workshop, job: Job, status: Status) -> Job:
    wait_until(
        lambda: workshop.store.get(job.id).status is status,
        seconds=60,
        what=f"{job.id} {status}",
    )
    return workshop.store.get(job.id)
