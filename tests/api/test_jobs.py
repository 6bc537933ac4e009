"""Jobs over REST: what a job looks like at each stage of its life, and how lists are walked."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from flant5_train.config import Hyperparameters
from tests.api.scenes import claim_new_job, make_job
from worker.jobs.job import JobError, JobProgressState
from worker.jobs.store.serialization import Claim, Failed, Succeeded, Update
from worker.jobs.store.store import JobStore

REQUEST = {"model": "flant5-demo", "training_file": "chats.json"}


def create(client: TestClient, **fields: Any) -> dict[str, Any]:
    response = client.post("/fine_tuning/jobs", json=REQUEST | fields)
    assert response.status_code == 200, response.text
    job: dict[str, Any] = response.json()
    return job


def test_a_new_job_has_every_key_of_the_sdk_also_those_that_are_null(client: TestClient) -> None:
    job = create(client, suffix="math", seed=7, metadata={"team": "a b"})
    assert job.pop("id").startswith("ftjob-")
    assert isinstance(job.pop("created_at"), int)
    assert job.pop("output_directory").endswith("/output")
    hyperparameters = job.pop("hyperparameters")
    assert job.pop("method") == {
        "type": "supervised",
        "supervised": {"hyperparameters": hyperparameters},
    }
    assert job == {
        "object": "fine_tuning.job",
        "started_at": None,
        "finished_at": None,
        "model": "flant5-demo",
        "fine_tuned_model": None,
        "organization_id": "flant5",
        "status": "validating_files",
        "phase": None,
        "waiting_for": None,
        "progress": None,
        "estimated_finish": None,
        "attempt": 0,
        "workers": [],
        "retry_at": None,
        "run_seconds": 0.0,
        "max_run_seconds": None,
        "priority": 0,
        "owner": "",
        "training_file": "chats.json",
        "validation_file": None,
        "result_files": [],
        "seed": 7,
        "suffix": "math",
        "metadata": {"team": "a b"},
        "integrations": [],
        "trained_tokens": None,
        "error": None,
    }


def test_all_hyperparameters_come_back_with_the_values_the_job_runs_with(
    client: TestClient,
) -> None:
    job = create(client, hyperparameters={"learning_rate": 2e-5, "num_train_epochs": 1.5})
    ours = Hyperparameters(learning_rate=2e-5, num_train_epochs=1.5).model_dump(mode="json")
    of_the_sdk = {"n_epochs": 1.5, "batch_size": 8, "learning_rate_multiplier": 0.2}
    assert job["hyperparameters"] == ours | of_the_sdk


def test_a_running_job_shows_its_phase_progress_and_expected_end(
    client: TestClient, store: JobStore, running_job: Claim
) -> None:
    progress = JobProgressState(
        step=12, max_steps=75, percent=16.0, loss=3.2, tokens_per_second=800.0, eta_seconds=63.0
    )
    update = Update(phase="training", progress=progress, trained_tokens=4096)
    assert store.leases.record(running_job, update)
    job = client.get(f"/fine_tuning/jobs/{running_job.job.id}").json()
    assert (job["status"], job["phase"], job["trained_tokens"]) == ("running", "training", 4096)
    assert job["progress"].pop("last_heartbeat_at") > 0
    assert job["progress"] == progress.model_dump()
    assert job["estimated_finish"] - job["started_at"] == pytest.approx(63, abs=15)


def test_a_running_job_without_news_has_no_invented_numbers(
    client: TestClient, running_job: Claim
) -> None:
    job = client.get(f"/fine_tuning/jobs/{running_job.job.id}").json()
    assert (job["progress"]["step"], job["progress"]["max_steps"]) == (0, None)
    assert job["estimated_finish"] is None


def test_a_queued_job_waits_for_a_gpu(client: TestClient, store: JobStore) -> None:
    job = make_job(store)
    store.accept(job.id)
    assert client.get(f"/fine_tuning/jobs/{job.id}").json()["phase"] == "waiting_for_gpu"


def test_a_job_that_succeeded_names_its_model(
    client: TestClient, store: JobStore, running_job: Claim
) -> None:
    store.leases.finish(running_job, Succeeded("ft:flant5-demo:flant5::abcdefgh"))
    job = client.get(f"/fine_tuning/jobs/{running_job.job.id}").json()
    assert job["status"] == "succeeded"
    assert job["fine_tuned_model"] == "ft:flant5-demo:flant5::abcdefgh"
    assert isinstance(job["finished_at"], int)


def test_a_job_that_failed_says_why(
    client: TestClient, store: JobStore, running_job: Claim
) -> None:
    error = JobError(code="bad_data", message="record 3 is cut", param="training_file")
    store.leases.finish(running_job, Failed(error))
    job = client.get(f"/fine_tuning/jobs/{running_job.job.id}").json()
    assert (job["status"], job["error"]) == ("failed", error.model_dump())


def test_cancelling_a_waiting_job_ends_it_at_once(client: TestClient) -> None:
    job = create(client)
    answer = client.post(f"/fine_tuning/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


def test_cancelling_a_running_job_asks_its_worker_to_stop(
    client: TestClient, running_job: Claim
) -> None:
    answer = client.post(f"/fine_tuning/jobs/{running_job.job.id}/cancel").json()
    assert (answer["status"], answer["phase"]) == ("running", "stopping")


def test_cancelling_a_job_that_ended_is_an_error_that_no_retry_can_cure(
    client: TestClient,
) -> None:
    job = create(client)
    client.post(f"/fine_tuning/jobs/{job['id']}/cancel")
    answer = client.post(f"/fine_tuning/jobs/{job['id']}/cancel")
    assert answer.status_code == 400
    assert answer.headers["x-should-retry"] == "false"


def test_lists_end_and_hold_every_job_once(client: TestClient, store: JobStore) -> None:
    ids = [make_job(store).id for _ in range(7)]
    seen: list[str] = []
    page = client.get("/fine_tuning/jobs", params={"limit": 3}).json()
    seen += [job["id"] for job in page["data"]]
    while page["has_more"]:
        after = page["last_id"]
        page = client.get("/fine_tuning/jobs", params={"limit": 3, "after": after}).json()
        seen += [job["id"] for job in page["data"]]
    assert seen == ids[::-1]


def test_lists_can_be_narrowed_by_metadata(client: TestClient) -> None:
    wanted = create(client, metadata={"team": "a b", "run": "1"})
    create(client, metadata={"team": "c", "run": "1"})
    create(client)
    page = client.get("/fine_tuning/jobs", params={"metadata[team]": "a b"}).json()
    assert [job["id"] for job in page["data"]] == [wanted["id"]]
    both = {"metadata[team]": "a b", "metadata[run]": "2"}
    assert client.get("/fine_tuning/jobs", params=both).json()["data"] == []


@pytest.mark.parametrize(
    ("query", "param"), [("limit=0", "limit"), ("limit=x", "limit"), ("after=ftjob-1", "after")]
)
def test_a_bad_page_is_refused_by_name(client: TestClient, query: str, param: str) -> None:
    response = client.get(f"/fine_tuning/jobs?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("path", ["", "/events", "/logs", "/checkpoints", "/metrics", "/artifacts"])
def test_an_unknown_job_is_a_404_everywhere(client: TestClient, path: str) -> None:
    response = client.get(f"/fine_tuning/jobs/ftjob-none{path}")
    assert response.status_code == 404
    assert "ftjob-none" in response.json()["error"]["message"]


def test_a_spec_is_kept_as_it_was_asked_for(client: TestClient, store: JobStore) -> None:
    job = create(client, validation_file="chats.json", seed=3)
    spec = store.get(job["id"]).spec
    assert (spec.validation_file, spec.seed) == ("chats.json", 3)
    assert claim_new_job(store).job.spec.seed == 42
