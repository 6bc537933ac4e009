"""What is too large is refused before it fills anything."""

import gzip
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.settings import ApiSettings
from tests.security.conftest import Send
from tests.security.corpus.forms import file_form
from tests.security.malformed import Malformed
from tests.security.wire import Wire

MEGABYTE = 2**20


@pytest.fixture
def settings(settings: ApiSettings) -> ApiSettings:
    return settings.model_copy(update={"max_file_bytes": MEGABYTE, "max_upload_bytes": MEGABYTE})


def files_under(home: Path) -> set[str]:
    return {
        str(path.relative_to(home)) for path in home.rglob("*") if "audit" not in path.parts[-2:]
    }


def test_a_file_that_is_declared_too_large_is_refused_unread(
    send: Send, server_url: str, settings: ApiSettings
) -> None:
    with Wire("127.0.0.1", int(server_url.split(":")[2].split("/")[0])) as wire:
        headers, form = file_form(b"big.jsonl", b"x" * 3 * MEGABYTE)
        answer = wire.ask(Malformed("POST", "/v1/files", headers, form).encoded("x"))
        assert answer.status == 413
        assert b"larger than" in answer.body
    assert not (settings.home / "files").exists()


def test_a_file_that_comes_in_chunks_is_cut_where_it_gets_too_large(
    client: TestClient, settings: ApiSettings
) -> None:
    headers, form = file_form(b"big.jsonl", b"x" * 3 * MEGABYTE)
    pieces = (form[start : start + 65_536] for start in range(0, len(form), 65_536))
    response = client.post("/files", content=pieces, headers=dict(headers))
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"
    assert files_under(settings.home) <= {"audit", "incoming"}


def test_a_file_just_over_the_limit_leaves_nothing(
    client: TestClient, settings: ApiSettings
) -> None:
    files = {"file": ("a.jsonl", b"x" * (MEGABYTE + 1))}
    response = client.post("/files", files=files, data={"purpose": "fine-tune"})
    assert response.status_code == 400
    assert f"larger than {MEGABYTE} bytes" in response.json()["error"]["message"]
    assert files_under(settings.home) <= {"audit", "files", "incoming"}


def test_an_upload_takes_no_more_than_it_announced(client: TestClient) -> None:
    announced = {"filename": "a", "bytes": 10, "mime_type": "text/jsonl", "purpose": "fine-tune"}
    too_large = client.post("/uploads", json=announced | {"bytes": MEGABYTE + 1})
    assert too_large.status_code == 400
    upload_id = client.post("/uploads", json=announced).json()["id"]
    part = client.post(f"/uploads/{upload_id}/parts", files={"data": b"x" * 11})
    assert part.status_code == 400
    assert client.get(f"/uploads/{upload_id}/parts").json()["data"] == []


def test_a_compressed_body_is_not_inflated(client: TestClient, settings: ApiSettings) -> None:
    """64 MB of blanks are 64 kB of gzip: what comes is what counts, and what is kept."""
    bomb = gzip.compress(b"[" + b" " * 64 * MEGABYTE + b"]")
    assert len(bomb) < MEGABYTE / 10
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    for path in ("/fine_tuning/jobs", "/uploads"):
        response = client.post(path, content=bomb, headers=headers)
        assert response.status_code == 400
        assert "the body is not JSON" in response.json()["error"]["message"]
    form_headers, form = file_form(b"a.jsonl", b"[]")
    response = client.post(
        "/files",
        content=gzip.compress(form),
        headers=dict(form_headers) | {"content-encoding": "gzip"},
    )
    assert response.status_code == 400
    file = client.post(
        "/files", files={"file": ("a.gz", bomb)}, data={"purpose": "fine-tune"}
    ).json()
    assert file["bytes"] == len(bomb)
    report = client.get(f"/files/{file['id']}/report", params={"wait_seconds": 30}).json()
    assert not report["is_trainable"]
    assert report["bytes"] == len(bomb)
    assert (settings.home / "files" / file["id"] / "content").stat().st_size == len(bomb)


def test_an_error_is_short_whatever_was_sent(app: FastAPI, client: TestClient) -> None:
    long = "k" * 200_000
    spec = {"model": long, "training_file": long, long: 1, "metadata": {long: long}}
    for response in (
        client.post("/fine_tuning/jobs", json=spec),
        client.get("/files", params={"after": "a" * 20_000}),
        client.get(f"/models/{'m' * 20_000}"),
    ):
        assert response.status_code in (400, 404)
        assert len(response.content) < 2500
        assert "characters)" in response.json()["error"]["message"]
