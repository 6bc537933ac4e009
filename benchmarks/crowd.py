"""Load test of live streams: many clients, and workers that write the events."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO, Any

from benchmarks.api_server import ApiServer
from benchmarks.live_service import BenchmarkError
from worker.jobs.job import JobSpec
from worker.jobs.store import keys
from worker.jobs.store.serialization import Claim, NewEvent, Succeeded, Update
from worker.jobs.store.store import JobStore

_LEASE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Script:
    """Course of the test: each job emits an event in each round, and ends after the last round."""

    num_clients: int = 1000
    num_jobs: int = 20
    num_rounds: int = 30
    round_seconds: float = 0.5
    settle_seconds: float = 3.0
    """Pause before the first round, for the last client to read its history."""
    restarts: bool = False
    """True restarts the API after a third of the rounds."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Results of the clients."""

    num_clients: int
    num_expected: int
    """Number of events of the jobs, once per client."""
    num_received: int
    """Number of received events, each once and in order; otherwise the clients' process fails."""
    delays_ms: list[float]
    """Delays from the store's clock to the client, for events during its connection."""
    num_returns: int
    """Number of reconnects."""


def run_crowd(server: ApiServer, script: Script) -> Crowd:
    """Runs the test. Raises BenchmarkError if the clients' process fails."""
    store = JobStore(server.redis)
    claims = [_claim(store, number) for number in range(script.num_jobs)]
    job_ids = [claim.job.id for claim in claims]
    command = [sys.executable, "-m", "benchmarks.stream_clients", server.url, server.admin_key]
    with subprocess.Popen(
        [*command, str(script.num_clients), *job_ids], stdout=subprocess.PIPE, text=True
    ) as clients:
        try:
            assert clients.stdout is not None
            _line(clients.stdout)
            _tell(store, claims, script, server)
            seen = json.loads(_line(clients.stdout))
        finally:
            clients.kill()
    written = {job_id: server.redis.xlen(keys.events(job_id)) for job_id in job_ids}
    received: dict[str, list[int]] = seen["received"]
    return Crowd(
        num_clients=script.num_clients,
        num_expected=sum(written[job_id] * len(counts) for job_id, counts in received.items()),
        num_received=sum(map(sum, received.values())),
        delays_ms=seen["delays_ms"],
        num_returns=seen["num_returns"],
    )


def _line(stdout: IO[str]) -> str:
    line = stdout.readline()
    if not line:
        raise BenchmarkError("the clients' process ended; see its standard error")
    return line


def _claim(store: JobStore, number: int) -> Claim:
    """Creates a job and claims it for a worker of this benchmark."""
    job = store.create(JobSpec(model="flant5-demo", training_file="chats.json", priority=100))
    store.accept(job.id)
    claim = store.leases.claim(
        worker=f"benchmark-{time.time_ns()}-{number}", num_slots=1, lease_seconds=_LEASE_SECONDS
    )
    if claim is None or claim.job.id != job.id:
        raise BenchmarkError(f"job {job.id} was not the next to run")
    return claim


def _tell(store: JobStore, claims: list[Claim], script: Script, server: ApiServer) -> None:
    time.sleep(script.settle_seconds)
    began = time.monotonic()
    for number in range(script.num_rounds):
        if script.restarts and number == script.num_rounds // 3:
            server.stop()
            server.start()
        data: dict[str, Any] = {"step": number, "loss": 1.25, "tokens_per_second": 1000.0}
        event = NewEvent(f"Step {number}", type="metrics", data=data)
        for claim in claims:
            store.leases.record(claim, Update(events=(event,)))
        time.sleep(max(0.0, began + (number + 1) * script.round_seconds - time.monotonic()))
    for claim in claims:
        store.leases.finish(claim, Succeeded("ft:benchmark"))
