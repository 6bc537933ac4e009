"""A recovery over REST and `flant5 recover`; the test plays the controller."""

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from api.settings import ApiSettings
from tests.api.cli_runs import FLANT5, flant5, started
from tests.api.scenes import wait_until
from tests.worker.scenes import spec
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job, Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.store.recovery import Problem, Recovery, RecoveryRequests, RestoredJob
from worker.jobs.store.redis import Scripts
from worker.jobs.store.store import JobStore

FOUND = {
    "num_found": 4,
    "num_known": 1,
    "restored": (
        RestoredJob(id="ftjob-a", status=Status.SUCCEEDED),
        RestoredJob(id="ftjob-b", status=Status.QUEUED),
    ),
}
PROBLEM = Problem(id="ftjob-c", message="job.json: spec: cut off")


def is_requested(desk: RecoveryRequests) -> bool:
    state = desk.state()
    return state is not None and state.status == "requested"


def finish(desk: RecoveryRequests, **found: object) -> None:
    known = desk.state()
    assert known is not None
    done = {**known.model_dump(), "status": "done", "finished_at": 2e9, **FOUND, **found}
    assert desk.replace(known, Recovery.model_validate(done))


def test_a_recovery_is_asked_for_once_and_its_state_can_be_read(
    client: TestClient, redis: Redis
) -> None:
    nothing = client.get("/recover")
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (404, "not_found")
    asked = client.post("/recover")
    assert (asked.status_code, asked.json()["status"]) == (202, "requested")
    assert isinstance(asked.json()["requested_at"], int)
    assert client.post("/recover").json() == asked.json()
    finish(RecoveryRequests(Scripts(redis, QueuePolicy())), problems=(PROBLEM,))
    assert client.get("/recover").json() == {
        "object": "recovery",
        "status": "done",
        "requested_at": asked.json()["requested_at"],
        "cause": None,
        "finished_at": 2_000_000_000,
        "num_found": 4,
        "num_known": 1,
        "restored": [
            {"id": "ftjob-a", "status": "succeeded"},
            {"id": "ftjob-b", "status": "queued"},
        ],
        "problems": [{"id": "ftjob-c", "message": "job.json: spec: cut off"}],
    }
    assert client.post("/recover").json()["status"] == "requested"


def test_recover_waits_for_the_end_and_prints_what_was_found(server_url: str, redis: Redis) -> None:
    desk = RecoveryRequests(Scripts(redis, QueuePolicy()))
    with started([*FLANT5, "recover"], url=server_url) as recovering:
        wait_until(lambda: is_requested(desk), what="the request")
        finish(desk)
        out, err = recovering.communicate(timeout=30)
    assert (recovering.returncode, err) == (0, "")
    rows = dict(line.rsplit(maxsplit=1) for line in out.splitlines()[1:])
    assert rows == {
        "on disk": "4",
        "already known": "1",
        "restored": "2",
        "restored, ended": "1",
        "restored, active": "1",
        "problems": "0",
    }


def test_recover_names_the_jobs_that_are_not_back_and_fails(server_url: str, redis: Redis) -> None:
    desk = RecoveryRequests(Scripts(redis, QueuePolicy()))
    for options in ((), ("--json",)):
        with started([*FLANT5, "recover", *options], url=server_url) as recovering:
            wait_until(lambda: is_requested(desk), what="the request")
            finish(desk, problems=(PROBLEM,))
            out, _ = recovering.communicate(timeout=30)
        assert recovering.returncode == 1
        assert "job.json: spec: cut off" in out


def test_recover_without_a_worker_says_who_would_do_it(server_url: str) -> None:
    run = flant5("recover", "--patience", "1", url=server_url)
    assert (run.code, run.out) == (1, "")
    assert "check that the controller is running" in run.err


def test_a_job_that_is_restored_while_it_is_asked_for_was_never_unknown(
    client: TestClient, store: JobStore, settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.create(spec())
    JobRecordStore(settings.home_directories).write(job)

    def not_yet(self: JobStore, job_id: str) -> Job:
        raise NotFoundError(f"no job {job_id!r}")

    monkeypatch.setattr(JobStore, "get", not_yet)
    answer = client.get(f"/fine_tuning/jobs/{job.id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "job_not_restored")
