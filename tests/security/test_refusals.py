"""What malformed inputs found, and what they get now."""

import pytest
from fastapi.testclient import TestClient

from tests.api.scenes import CONVERSATIONS, make_job
from tests.security.conftest import Send
from worker.jobs.store.store import JobStore


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/files", "GET, POST"),
        ("/files/file-1", "DELETE, GET"),
        ("/models/google%2Fflan", "DELETE, GET"),
        ("/fine_tuning/jobs/ftjob-1/pause", "POST"),
        ("/recover", "GET, POST"),
    ],
)
def test_a_wrong_method_is_answered_with_all_right_ones(
    client: TestClient, path: str, allowed: str
) -> None:
    response = client.put(path)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("field", ["seed", "priority", "hyperparameters.num_gpus"])
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_number(client: TestClient, field: str, value: bool) -> None:
    name = field.rpartition(".")[2]
    wrong = {"hyperparameters": {name: value}} if "." in field else {name: value}
    spec = {"model": "flant5-demo", "training_file": "chats.json"} | wrong
    response = client.post("/fine_tuning/jobs", json=spec)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field
    assert f"got '{str(value).lower()}'" in response.json()["error"]["message"]


def test_a_true_boolean_stays_one(client: TestClient) -> None:
    spec = {"model": "flant5-demo", "training_file": "chats.json"}
    wanted = spec | {"hyperparameters": {"gradient_checkpointing": True}}
    job = client.post("/fine_tuning/jobs", json=wanted).json()
    assert job["hyperparameters"]["gradient_checkpointing"] is True


def test_the_size_of_an_upload_is_a_number(client: TestClient) -> None:
    announced = {"filename": "a", "bytes": True, "mime_type": "a/b", "purpose": "fine-tune"}
    response = client.post("/uploads", json=announced)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "bytes")


@pytest.mark.parametrize(
    ("asked", "status"),
    [("bytes=5-1", 400), ("lines=0-1", 400), ("bytes=", 400), ("bytes=9999999-", 416)],
)
def test_a_range_that_is_none_is_an_error_like_all_others(
    client: TestClient, asked: str, status: int
) -> None:
    files = {"file": ("a.json", CONVERSATIONS)}
    file = client.post("/files", files=files, data={"purpose": "fine-tune"}).json()
    path = f"/files/{file['id']}/content"
    response = client.get(path, headers={"range": asked})
    assert response.status_code == status
    assert response.headers["content-range"] == f"bytes */{len(CONVERSATIONS)}"
    assert "expected `bytes=first-last`" in response.json()["error"]["message"]
    part = client.get(path, headers={"range": "bytes=1-5"})
    assert (part.status_code, part.content) == (206, CONVERSATIONS[1:6])


@pytest.mark.parametrize("cursor", ["0-0", "ft-event-0-0", "00-000"])
def test_before_the_first_event_there_is_nothing(
    client: TestClient, store: JobStore, cursor: str
) -> None:
    job = make_job(store)
    response = client.get(f"/fine_tuning/jobs/{job.id}/events", params={"after": cursor})
    assert response.status_code == 200
    assert response.json()["data"] == []
    assert response.json()["has_more"] is False


@pytest.mark.parametrize("path", ["/files/", "/fine_tuning/jobs/", "/models/flant5-demo/"])
def test_nobody_is_sent_to_the_host_that_a_request_names(send: Send, path: str) -> None:
    answer = send("GET", path)
    assert answer.status == 404
    assert "location" not in answer.headers
