"""One submission makes one job, however often it is sent; two submissions make two."""

import threading
import time

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from tests.api.scenes import first_create_held_back
from worker.jobs.store.queue_status import Submissions
from worker.jobs.store.store import JobStore

REQUEST = {"model": "flant5-demo", "training_file": "chats.json"}


def create(client: TestClient, *, seed: int = 1, **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.post("/fine_tuning/jobs", json=REQUEST | {"seed": seed}, headers=named)
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


def num_jobs(client: TestClient) -> int:
    return len(client.get("/fine_tuning/jobs").json()["data"])


def test_two_deliberate_creates_stay_two_jobs(client: TestClient) -> None:
    first = create(client, x_stainless_retry_count="0")
    assert create(client, x_stainless_retry_count="0") != first
    assert create(client) != first
    assert num_jobs(client) == 3


def test_a_retry_gets_the_job_of_the_first_try(client: TestClient) -> None:
    first = create(client, x_stainless_retry_count="0")
    assert create(client, x_stainless_retry_count="1") == first
    assert create(client, x_stainless_retry_count="2") == first
    assert num_jobs(client) == 1


def test_a_retry_gets_the_last_of_two_equal_submissions(client: TestClient) -> None:
    first = create(client)
    second = create(client)
    assert create(client, x_stainless_retry_count="1") == second != first


def test_a_retry_with_another_content_is_a_job_of_its_own(client: TestClient) -> None:
    first = create(client, seed=1)
    assert create(client, seed=2, x_stainless_retry_count="1") != first


def test_a_retry_of_another_caller_is_a_job_of_its_own(client: TestClient) -> None:
    first = create(client, authorization="Bearer one")
    assert create(client, authorization="Bearer two", x_stainless_retry_count="1") != first


def test_retries_whose_first_try_never_came_make_one_job(client: TestClient) -> None:
    first = create(client, x_stainless_retry_count="1")
    assert create(client, x_stainless_retry_count="2") == first
    assert num_jobs(client) == 1


def test_a_retry_that_overtakes_its_first_try_makes_one_job(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[str] = []
    with first_create_held_back(monkeypatch) as held:
        slow = threading.Thread(target=lambda: answers.append(create(client)))
        slow.start()
        assert held.arrived.wait(timeout=20)
        retried = create(client, x_stainless_retry_count="1")
        held.finish()
        slow.join(timeout=20)
    assert answers == [retried]
    assert num_jobs(client) == 1
    # The next deliberate one is new again.
    assert create(client) != retried


def test_a_retry_during_the_first_try_makes_one_job(redis: Redis, store: JobStore) -> None:
    submissions = Submissions(redis)
    first = submissions.token("content", arrived_at=time.time(), is_retry=False)
    retry = submissions.token("content", arrived_at=time.time(), is_retry=True)
    assert first == retry


def test_an_idempotency_key_gives_the_same_job(client: TestClient) -> None:
    first = create(client, idempotency_key="abc")
    assert create(client, idempotency_key="abc") == first
    assert create(client, idempotency_key="abd") != first


def test_an_idempotency_key_of_another_caller_is_another_key(client: TestClient) -> None:
    first = create(client, idempotency_key="abc", authorization="Bearer one")
    assert create(client, idempotency_key="abc", authorization="Bearer two") != first


def test_an_idempotency_key_with_another_content_is_refused(client: TestClient) -> None:
    first = create(client, seed=1, idempotency_key="abc")
    response = client.post(
        "/fine_tuning/jobs", json=REQUEST | {"seed": 2}, headers={"idempotency-key": "abc"}
    )
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "Idempotency-Key")
    assert first in error["message"]
    assert num_jobs(client) == 1


def test_a_retry_count_that_is_no_number_is_refused(client: TestClient) -> None:
    headers = {"x-stainless-retry-count": "many"}
    response = client.post("/fine_tuning/jobs", json=REQUEST, headers=headers)
    assert response.status_code == 400
