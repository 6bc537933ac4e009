"""Who did what to which thing is on disk."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.auth import hash_of
from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS


@pytest.fixture
def settings(settings: ApiSettings, tmp_path: Path) -> ApiSettings:
    keys = tmp_path / "keys"
    keys.write_text(f"alice:{hash_of('f5-alice')}\nbob:{hash_of('f5-bob')}:read\n")
    return settings.model_copy(update={"api_keys_file": keys})


ALICE = {"authorization": "Bearer f5-alice", "x-request-id": "req-of-alice"}


def audited(settings: ApiSettings) -> list[dict[str, Any]]:
    files = sorted((settings.home / "audit").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_what_is_made_cancelled_and_deleted_is_in_the_audit_log(
    client: TestClient, settings: ApiSettings
) -> None:
    file = client.post(
        "/files",
        files={"file": ("a.json", CONVERSATIONS)},
        data={"purpose": "fine-tune"},
        headers=ALICE,
    ).json()
    spec = {"model": "flant5-demo", "training_file": file["id"]}
    job = client.post("/fine_tuning/jobs", json=spec, headers=ALICE).json()
    client.get(f"/fine_tuning/jobs/{job['id']}", headers=ALICE)
    client.post(f"/fine_tuning/jobs/{job['id']}/cancel", headers=ALICE)
    client.delete(f"/files/{file['id']}", headers=ALICE)
    client.delete(f"/files/{file['id']}", headers=ALICE)
    entries = audited(settings)
    assert [(each["action"], each["object"], each["status"]) for each in entries] == [
        ("POST /v1/files", file["id"], 200),
        ("POST /v1/fine_tuning/jobs", job["id"], 200),
        (f"POST /v1/fine_tuning/jobs/{job['id']}/cancel", job["id"], 200),
        (f"DELETE /v1/files/{file['id']}", file["id"], 200),
        (f"DELETE /v1/files/{file['id']}", file["id"], 404),
    ]
    for entry in entries:
        assert entry["owner"] == "alice"
        assert entry["request_id"] == "req-of-alice"
        assert entry["address"]
        assert entry["at"].endswith("Z")


def test_whoever_was_kept_out_is_in_it_too(client: TestClient, settings: ApiSettings) -> None:
    client.get("/files", headers={"authorization": "Bearer f5-mallory"})
    client.get("http://testserver/metrics")
    client.post("/recover", headers={"authorization": "Bearer f5-bob"})
    found = [(each["action"], each["owner"], each["status"]) for each in audited(settings)]
    assert found == [
        ("GET /v1/files", "", 401),
        ("GET /metrics", "", 401),
        ("POST /v1/recover", "", 403),
    ]


def test_an_entry_is_one_line_whatever_was_sent(client: TestClient, settings: ApiSettings) -> None:
    client.delete("/files/a%0d%0a%7B%7D%1b%5b2J%e2%80%a8", headers=ALICE)
    client.delete(f"/models/{'m' * 9000}", headers=ALICE)
    text = next((settings.home / "audit").iterdir()).read_text()
    assert len(text.splitlines()) == 2
    assert text.replace("\n", "").isprintable()
    assert len(text) < 2000


def test_a_line_that_can_not_be_written_is_in_the_services_log(
    client: TestClient, settings: ApiSettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "audit").write_text("no directory")
    with caplog.at_level(logging.ERROR):
        assert client.delete("/files/x", headers=ALICE).status_code == 404
    assert "audit: cannot write" in caplog.text
    assert '"owner": "alice"' in caplog.text


def test_a_failure_of_our_own_is_in_it(
    app: FastAPI, client: TestClient, settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("api.routes.jobs.submit", fail)
    spec = {"model": "flant5-demo", "training_file": "chats.json"}
    assert client.post("/fine_tuning/jobs", json=spec, headers=ALICE).status_code == 500
    assert audited(settings)[-1]["status"] == 0
