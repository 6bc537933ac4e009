"""Uploads in parts that are refused, with what was expected."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import NotFoundError, OpenAI

from api.app import create_app
from api.auth import hash_of
from api.settings import ApiSettings
from tests.api.upload_scenes import UNKNOWN, begin, refused, send
from worker.jobs.storage.upload import MAX_PART_BYTES


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"bytes": -1}, "bytes", "greater than or equal to 0"),
        ({"bytes": 8 * 2**30 + 1}, "bytes", "the limit of this server is 8589934592"),
        ({"filename": "x" * 256}, "filename", "256 characters"),
        ({"purpose": "vision"}, "purpose", "'fine-tune'"),
        ({"mime_type": None}, "mime_type", "string"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3600}}, "expires_after", "not sup"),
        ({"part_size": 5}, "part_size", "unknown field"),
    ],
)
def test_a_file_that_can_not_come_is_refused_with_the_field(
    client: TestClient, fields: dict[str, Any], param: str, message: str
) -> None:
    body = {"bytes": 5, "filename": "a", "mime_type": "text/plain", "purpose": "fine-tune"}
    error = refused(client, "", json=body | fields)
    assert error["param"] == param
    assert message in error["message"]


def test_more_than_the_disk_has_room_for_is_refused_before_the_first_byte(
    settings: ApiSettings,
) -> None:
    app = create_app(settings.model_copy(update={"max_upload_bytes": 2**60}))
    with TestClient(app, base_url="http://testserver/v1") as client:
        body = {"filename": "a", "mime_type": "text/plain", "purpose": "fine-tune"}
        response = client.post("/uploads", json={"bytes": 2**59, **body})
    assert response.status_code == 507
    assert "are free on the server" in response.json()["error"]["message"]


def test_parts_that_can_not_belong_to_the_file_are_refused(client: TestClient) -> None:
    upload_id = begin(client, 10)
    path = f"{upload_id}/parts"
    error = refused(client, path, files={"data": b"x" * 11})
    assert (error["param"], "larger than 10 bytes" in error["message"]) == ("data", True)
    for _ in range(3):  # as a client does that gets no answer
        send(client, upload_id, b"x" * 10)
    error = refused(client, path, files={"data": b"x"})
    assert "3 times the 10 bytes announced" in error["message"]
    assert refused(client, path)["message"] == "data: missing"
    assert len(client.get(f"/uploads/{path}").json()["data"]) == 3


def test_a_part_over_64_mib_is_refused_whatever_was_announced(client: TestClient) -> None:
    upload_id = begin(client, 2**30)
    path = f"/uploads/{upload_id}/parts"
    error = client.post(path, files={"data": b"x" * (MAX_PART_BYTES + 1)}).json()["error"]
    assert f"larger than {MAX_PART_BYTES} bytes" in error["message"]
    response = client.post(path, files={"data": b"x" * (MAX_PART_BYTES + 2**17)})
    assert response.status_code == 413
    assert client.get(path).json()["data"] == []


@pytest.mark.parametrize("upload_id", ["upload_1", UNKNOWN, "..%2f..%2ffiles"])
def test_an_unknown_upload_is_a_404_everywhere(client: TestClient, upload_id: str) -> None:
    for response in (
        client.get(f"/uploads/{upload_id}"),
        client.get(f"/uploads/{upload_id}/parts"),
        client.post(f"/uploads/{upload_id}/parts", files={"data": b"x"}),
        client.post(f"/uploads/{upload_id}/complete", json={"part_ids": []}),
        client.post(f"/uploads/{upload_id}/cancel"),
    ):
        assert response.status_code == 404, response.text
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.fixture
def two_owners(
    settings: ApiSettings, serve: Callable[[FastAPI], str], tmp_path: Path
) -> Iterator[tuple[OpenAI, OpenAI]]:
    keys_file = tmp_path / "keys"
    keys_file.write_text(f"alice:{hash_of('f5-alice')}\nbob:{hash_of('f5-bob')}\n")
    url = serve(create_app(settings.model_copy(update={"api_keys_file": keys_file})))
    with (
        OpenAI(base_url=url, api_key="f5-alice") as alice,
        OpenAI(base_url=url, api_key="f5-bob") as bob,
    ):
        yield alice, bob


def test_another_owners_upload_does_not_exist(two_owners: tuple[OpenAI, OpenAI]) -> None:
    alice, bob = two_owners
    upload = alice.uploads.create(
        bytes=1, filename="a", mime_type="text/plain", purpose="fine-tune"
    )
    part = alice.uploads.parts.create(upload.id, data=b"x")
    with pytest.raises(NotFoundError, match="no upload"):
        bob.uploads.parts.create(upload.id, data=b"y")
    with pytest.raises(NotFoundError):
        bob.uploads.complete(upload.id, part_ids=[part.id])
    with pytest.raises(NotFoundError):
        bob.uploads.cancel(upload.id)
    assert alice.uploads.complete(upload.id, part_ids=[part.id]).status == "completed"
