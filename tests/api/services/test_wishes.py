"""Cancel, pause and resume over REST, limits of an owner, and what a waiting job shows."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.auth import hash_of
from api.settings import ApiSettings
from tests.api.scenes import claim_new_job, make_job
from worker.jobs.job import JobError
from worker.jobs.store.serialization import (
    Claim,
    Failed,
    HeartbeatDirective,
    InfraFailure,
    Succeeded,
)
from worker.jobs.store.store import JobStore

REQUEST = {"model": "flant5-demo", "training_file": "chats.json"}
RETRY = {"x-stainless-retry-count": "1"}


def ask(client: TestClient, job_id: str, wish: str, **headers: str) -> dict[str, Any]:
    response = client.post(f"/fine_tuning/jobs/{job_id}/{wish}", headers=headers)
    assert response.status_code == 200, response.text
    job: dict[str, Any] = response.json()
    return job


def refusal(client: TestClient, job_id: str, wish: str) -> str:
    response = client.post(f"/fine_tuning/jobs/{job_id}/{wish}")
    assert response.status_code == 400
    assert response.headers["x-should-retry"] == "false"
    return str(response.json()["error"]["message"])


def test_a_waiting_job_is_paused_at_once_and_resumed_to_where_it_was(
    client: TestClient, store: JobStore
) -> None:
    unchecked, queued = make_job(store), make_job(store)
    store.accept(queued.id)
    for job, status in ((unchecked, "validating_files"), (queued, "queued")):
        paused = ask(client, job.id, "pause")
        assert (paused["status"], paused["phase"], paused["waiting_for"]) == ("paused", None, None)
        assert ask(client, job.id, "resume")["status"] == status


def test_a_running_job_is_asked_to_pause_and_that_can_be_taken_back(
    client: TestClient, store: JobStore, running_job: Claim
) -> None:
    job_id = running_job.job.id
    answer = ask(client, job_id, "pause")
    assert (answer["status"], answer["phase"]) == ("running", "stopping")
    assert store.leases.heartbeat(running_job, 60) is HeartbeatDirective.PAUSE
    answer = ask(client, job_id, "resume")
    assert (answer["status"], answer["phase"]) == ("running", None)
    assert store.leases.heartbeat(running_job, 60) is HeartbeatDirective.GO_ON


@pytest.mark.parametrize(
    ("query", "beat"),
    [
        ("", HeartbeatDirective.CANCEL),
        ("?save_checkpoint=false", HeartbeatDirective.CANCEL),
        ("?save_checkpoint=true", HeartbeatDirective.CANCEL_SAVE),
    ],
)
def test_a_running_job_is_cancelled_with_or_without_a_checkpoint(
    client: TestClient, store: JobStore, running_job: Claim, query: str, beat: HeartbeatDirective
) -> None:
    answer = ask(client, running_job.job.id, f"cancel{query}")
    assert (answer["status"], answer["phase"]) == ("running", "stopping")
    assert store.leases.heartbeat(running_job, 60) is beat


def test_impatience_turns_a_saving_cancel_into_one_at_once(
    client: TestClient, store: JobStore, running_job: Claim
) -> None:
    ask(client, running_job.job.id, "cancel?save_checkpoint=true")
    ask(client, running_job.job.id, "cancel")
    assert store.leases.heartbeat(running_job, 60) is HeartbeatDirective.CANCEL


def test_a_failed_and_a_cancelled_job_can_be_resumed(client: TestClient, store: JobStore) -> None:
    failed = claim_new_job(store)
    store.leases.finish(failed, Failed(JobError(code="cuda_oom", message="too large")))
    cancelled = make_job(store)
    ask(client, cancelled.id, "cancel")
    resumed = ask(client, failed.job.id, "resume")
    assert (resumed["status"], resumed["error"], resumed["finished_at"]) == ("queued", None, None)
    assert ask(client, cancelled.id, "resume")["status"] == "validating_files"


def test_what_cannot_be_done_is_refused_with_the_reason(
    client: TestClient, store: JobStore, running_job: Claim
) -> None:
    job_id = running_job.job.id
    assert refusal(client, job_id, "resume").endswith("can be resumed")
    ask(client, job_id, "cancel")
    assert "is being cancelled" in refusal(client, job_id, "pause")
    store.leases.finish(running_job, Succeeded("ft:x"))
    for wish in ("cancel", "pause", "resume"):
        assert "succeeded" in refusal(client, job_id, wish)
    waiting = make_job(store)
    ask(client, waiting.id, "pause")
    assert "is paused" in refusal(client, waiting.id, "pause")


@pytest.mark.parametrize("wish", ["cancel", "pause", "resume"])
def test_a_wish_for_an_unknown_job_is_a_404(client: TestClient, wish: str) -> None:
    response = client.post(f"/fine_tuning/jobs/ftjob-none/{wish}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_a_retried_wish_gets_the_answer_that_the_first_try_lost(
    client: TestClient, store: JobStore
) -> None:
    job = make_job(store)
    for wish, status in (
        ("pause", "paused"),
        ("resume", "validating_files"),
        ("cancel", "cancelled"),
    ):
        ask(client, job.id, wish)
        assert ask(client, job.id, wish, **RETRY)["status"] == status
        assert client.post(f"/fine_tuning/jobs/{job.id}/{wish}").status_code == 400
    # A retry is no excuse for what was never possible.
    response = client.post(f"/fine_tuning/jobs/{job.id}/pause", headers=RETRY)
    assert response.status_code == 400


def test_a_bad_flag_is_refused_by_name(client: TestClient, running_job: Claim) -> None:
    url = f"/fine_tuning/jobs/{running_job.job.id}/cancel?save_checkpoint=perhaps"
    response = client.post(url)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "save_checkpoint"


def test_priority_and_time_limit_are_taken_checked_and_shown(
    client: TestClient, store: JobStore
) -> None:
    body = REQUEST | {"priority": 7, "max_run_seconds": 3600}
    job = client.post("/fine_tuning/jobs", json=body).json()
    assert (job["priority"], job["max_run_seconds"]) == (7, 3600)
    spec = store.get(job["id"]).spec
    assert (spec.priority, spec.max_run_seconds) == (7, 3600)
    for field, value in (("priority", 101), ("priority", "high"), ("max_run_seconds", 0)):
        response = client.post("/fine_tuning/jobs", json=REQUEST | {field: value})
        assert (response.status_code, response.json()["error"]["param"]) == (400, field)


def test_the_higher_priority_runs_first(client: TestClient, store: JobStore) -> None:
    ids = {}
    for priority in (0, 5, -5):
        job = client.post("/fine_tuning/jobs", json=REQUEST | {"priority": priority}).json()
        ids[job["id"]] = priority
        store.accept(job["id"])
    claims = [store.leases.claim(worker="w", num_slots=1, lease_seconds=60) for _ in ids]
    assert [ids[claim.job.id] for claim in claims if claim] == [5, 0, -5]


def test_a_queued_job_says_what_it_waits_for_alone_and_in_lists(
    client: TestClient, store: JobStore, running_job: Claim
) -> None:
    job = make_job(store)
    store.accept(job.id)
    shown = client.get(f"/fine_tuning/jobs/{job.id}").json()
    assert shown["waiting_for"] == "a worker: none is online"
    listed = client.get("/fine_tuning/jobs").json()["data"]
    assert [each["waiting_for"] for each in listed] == ["a worker: none is online", None]


def test_a_job_that_lost_attempts_says_when_it_may_run_again(
    client: TestClient, store: JobStore, running_job: Claim
) -> None:
    claim = running_job
    for _ in range(2):
        store.leases.release(claim, reason="x", infra_failure=InfraFailure("worker_lost"))
        claim = store.leases.claim(worker="w", num_slots=1, lease_seconds=60) or claim
    shown = client.get(f"/fine_tuning/jobs/{claim.job.id}").json()
    assert isinstance(shown["retry_at"], int)
    assert shown["run_seconds"] >= 0
    assert shown["waiting_for"].startswith("the retry delay after a lost attempt: ")


@pytest.fixture
def keys(settings: ApiSettings, tmp_path: Path) -> ApiSettings:
    keys_file = tmp_path / "keys"
    keys_file.write_text("".join(f"{name}:{hash_of(name)}\n" for name in ("alice", "bob")))
    changes = {"api_keys_file": keys_file, "max_queued_per_key": 2}
    return settings.model_copy(update=changes)


def test_a_job_belongs_to_the_key_that_submitted_it(keys: ApiSettings) -> None:
    with TestClient(create_app(keys), base_url="http://testserver/v1") as client:
        for name in ("alice", "bob"):
            headers = {"authorization": f"Bearer {name}"}
            job = client.post("/fine_tuning/jobs", json=REQUEST, headers=headers).json()
            assert job["owner"] == name


def test_too_many_waiting_jobs_of_one_key_are_refused_and_no_retry_helps(
    keys: ApiSettings, store: JobStore
) -> None:
    alice, bob = ({"authorization": f"Bearer {name}"} for name in ("alice", "bob"))
    with TestClient(create_app(keys), base_url="http://testserver/v1") as client:

        def create(headers: dict[str, str]) -> Any:
            return client.post("/fine_tuning/jobs", json=REQUEST, headers=headers)

        first, second = (create(alice).json()["id"] for _ in range(2))
        refused = create(alice)
        error = refused.json()["error"]
        assert refused.status_code == 429
        assert (error["type"], error["code"]) == ("rate_limit_error", "queue_limit")
        assert "limit of queued jobs (2 are queued or paused)" in error["message"]
        assert refused.headers["x-should-retry"] == "false"
        assert create(bob).status_code == 200
        # A retry of a submission that got in gets its job, full or not.
        assert create(alice | RETRY).status_code == 429
        store.cancel(first)
        key = {"idempotency-key": "third"}
        third = create(alice | key)
        assert third.status_code == 200
        assert create(alice | key).json()["id"] == third.json()["id"] != second
