"""`flant5 watch`: what happens to a job, for people and for programs."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

from redis import Redis

from api.settings import ApiSettings
from tests.api.cli_runs import FLANT5, flant5, line_of, started
from tests.api.scenes import make_job, wait_until
from tests.ports import free_port
from worker.jobs.job import JobError
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Claim, Failed, NewEvent, Succeeded, Update
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState

STEP: dict[str, Any] = {
    "step": 12,
    "max_steps": 75,
    "loss": 3.21,
    "tokens_per_second": 812.0,
    "eta_seconds": 65.0,
}
SUCCEEDED = Succeeded("ft:flant5-demo:flant5::abcdefgh")


def test_watch_says_what_a_job_waits_for_and_how_a_paused_one_goes_on(
    server_url: str, redis: Redis, store: JobStore
) -> None:
    job = make_job(store)
    store.accept(job.id)
    registry = WorkerRegistry(Scripts(redis, QueuePolicy()))
    with started([*FLANT5, "watch", job.id], url=server_url) as watching:

        def next_line_with(text: str) -> str:
            return next(line for line in iter(lambda: line_of(watching), "") if text in line)

        assert next_line_with("waiting for") == "waiting for a worker: none is online\n"
        # Nothing happens to the job meanwhile.
        state = WorkerState(name="gpu-0", devices=("0",), unhealthy_reason="CUDA is gone")
        registry.register(state, seconds=600)
        registry.set_health("gpu-0", state.unhealthy_reason)
        assert "gpu-0 takes no jobs (CUDA is gone)" in next_line_with("waiting for")
        store.pause(job.id)
        assert next_line_with("flant5") == f"paused; continue it with `flant5 resume {job.id}`\n"
        store.resume(job.id)
        assert next_line_with("resumed") == "Job resumed\n"
        store.cancel(job.id)
        out, err = watching.communicate(timeout=30)
    assert out.splitlines()[-1] == "Job cancelled"
    assert (watching.returncode, err) == (1, "")


def test_watch_shows_no_hint_for_a_pause_that_is_over(server_url: str, store: JobStore) -> None:
    job = make_job(store)
    store.pause(job.id)
    store.resume(job.id)
    store.cancel(job.id)
    assert "flant5 resume" not in flant5("watch", job.id, url=server_url).out


def test_watch_shows_what_happens_and_succeeds_with_the_job(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    message = "Step 12/75: training loss=3.21"
    with started([*FLANT5, "watch", running_job.job.id], url=server_url) as watching:
        assert line_of(watching) == "Job created; its files are being checked\n"
        store.leases.record(
            running_job, Update(events=(NewEvent(message, type="metrics", data=STEP),))
        )
        store.leases.finish(running_job, SUCCEEDED)
        out, err = watching.communicate(timeout=30)
    assert f"{message} (812 tokens/s, 1m05s left)" in out
    assert "Job succeeded; the model is ft:flant5-demo:flant5::abcdefgh" in out
    assert (watching.returncode, err) == (0, "")


def test_watch_in_json_is_one_document_a_line_and_the_job_last(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    store.leases.finish(running_job, Failed(JobError(code="bad_data", message="record 3 is cut")))
    run = flant5("watch", running_job.job.id, "--json", url=server_url)
    assert run.code == 1
    assert [event["seq"] for event in run.lines[:-1]] == [1, 2, 3, 4]
    assert run.lines[-1]["error"]["message"] == "record 3 is cut"


def test_watch_fails_with_a_cancelled_job(server_url: str, store: JobStore) -> None:
    job = make_job(store)
    store.cancel(job.id)
    assert flant5("watch", job.id, url=server_url).code == 1


def test_submit_can_watch(server_url: str, store: JobStore, data: Path) -> None:
    with started([*FLANT5, "submit", data, "--watch", "--json"], url=server_url) as watching:
        wait_until(lambda: bool(store.to_validate(1)), what="the job")
        store.cancel(store.to_validate(1)[0].id)
        out, _ = watching.communicate(timeout=30)
    assert watching.returncode == 1
    assert '"status": "cancelled"' in out.splitlines()[-1]


def test_watch_survives_a_restart_of_the_server(
    settings: ApiSettings, store: JobStore, running_job: Claim
) -> None:
    port = str(free_port())
    url = f"http://127.0.0.1:{port}/v1"
    api = [sys.executable, "-m", "api"]
    shared: dict[str, str | Path] = {
        "home": settings.home,
        "redis_url": settings.redis_url.get_secret_value(),
    }
    watch = [*FLANT5, "watch", running_job.job.id, "--json"]
    with started(api, port=port, **shared) as server:
        wait_until(lambda: flant5("models", url=url).code == 0, what="the server")
        with started(watch, url=url) as watching:
            seen = [line_of(watching) for _ in range(3)]
            server.send_signal(signal.SIGTERM)
            # An open stream does not keep the server from ending.
            assert server.wait(timeout=20) == 0
            store.leases.record(running_job, Update(events=(NewEvent("while away"),)))
            store.leases.finish(running_job, SUCCEEDED)
            with started(api, port=port, **shared):
                out, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, "")
    events = [json.loads(line) for line in (*seen, *out.splitlines()[:-1])]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
