"""Jobs in the state a test begins with, and waiting with a deadline."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from worker.jobs.job import Job, JobSpec
from worker.jobs.store.serialization import Claim
from worker.jobs.store.store import JobStore

LEASE_SECONDS = 60.0


def spec(**changes: object) -> JobSpec:
    return JobSpec.model_validate({"model": "flant5-demo", "training_file": "file-1"} | changes)


def queued_job(store: JobStore, **changes: object) -> Job:
    job = store.create(spec(**changes))
    assert store.accept(job.id)
    return store.get(job.id)


def claimed_job(store: JobStore, *, worker: str = "gpu-0", **changes: object) -> Claim:
    return claim_again(store, queued_job(store, **changes).id, worker=worker)


def claim_again(store: JobStore, job_id: str, *, worker: str = "gpu-0") -> Claim:
    claim = store.leases.claim(worker=worker, num_slots=8, lease_seconds=LEASE_SECONDS)
    assert claim is not None, f"{job_id} is {store.get(job_id).status}"
    assert claim.job.id == job_id, "another job waits as well"
    return claim


def wait_until(condition: Callable[[], object], *, seconds: float = 30.0, what: str = "") -> None:
    """Polls; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """A zombie is dead: it holds no memory and no GPU, only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def read_pids(directory: Path) -> list[int]:
    """Ids of the processes that left a file `<name>.pid` in the directory."""
    texts = [path.read_text() for path in sorted(directory.glob("*.pid"))]
    return [int(text) for text in texts if text]  # else it is just being written


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, **changes}
