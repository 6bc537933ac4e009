"""Files in parts: the unmodified `openai` SDK against a real server."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import BadRequestError, OpenAI
from pydantic import SecretStr

from api.app import create_app
from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS
from tests.api.upload_scenes import HALVES, begin, refused, send
from worker.jobs.storage.upload import MAX_PART_BYTES


def test_an_upload_from_its_first_part_to_a_job(sdk: OpenAI) -> None:
    upload = sdk.uploads.create(
        bytes=len(CONVERSATIONS),
        filename="talks.jsonl",
        mime_type="text/jsonl",
        purpose="fine-tune",
    )
    assert (upload.object, upload.status, upload.file) == ("upload", "pending", None)
    assert (upload.bytes, upload.filename, upload.purpose) == (
        len(CONVERSATIONS),
        "talks.jsonl",
        "fine-tune",
    )
    assert upload.id.startswith("upload_")
    assert upload.expires_at > upload.created_at
    second = sdk.uploads.parts.create(upload.id, data=HALVES[1])
    first = sdk.uploads.parts.create(upload.id, data=HALVES[0])
    assert (first.object, first.upload_id) == ("upload.part", upload.id)
    assert first.id.startswith("part_")
    assert first.created_at >= upload.created_at

    done = sdk.uploads.complete(
        upload.id,
        part_ids=[first.id, second.id],
        md5=hashlib.md5(CONVERSATIONS).hexdigest(),
    )
    assert (done.id, done.status) == (upload.id, "completed")
    assert done.file is not None
    assert sdk.files.retrieve(done.file.id) == done.file
    assert sdk.files.content(done.file.id).read() == CONVERSATIONS
    assert sdk.files.wait_for_processing(done.file.id).status == "processed"
    job = sdk.fine_tuning.jobs.create(model="flant5-demo", training_file=done.file.id)
    assert job.training_file == done.file.id


def test_a_file_goes_up_in_chunks(sdk: OpenAI, tmp_path: Path) -> None:
    content = CONVERSATIONS * 1000
    path = tmp_path / "talks.jsonl"
    path.write_bytes(content)
    for source in (
        {"file": path},
        {"file": content, "filename": "talks.jsonl", "bytes": len(content)},
    ):
        upload = sdk.uploads.upload_file_chunked(
            mime_type="text/jsonl", purpose="fine-tune", part_size=30_000, **source
        )
        assert upload.status == "completed"
        assert upload.file is not None
        assert upload.file.filename == "talks.jsonl"
        assert sdk.files.content(upload.file.id).read() == content


def test_a_file_larger_than_one_request_takes_goes_up_in_parts_of_64_mib(
    settings: ApiSettings, serve: Callable[[FastAPI], str], tmp_path: Path
) -> None:
    app = create_app(settings.model_copy(update={"max_file_bytes": 2**20}))
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(MAX_PART_BYTES + 5)
    with OpenAI(base_url=serve(app), api_key="any") as sdk:
        upload = sdk.uploads.upload_file_chunked(
            file=path, mime_type="text/plain", purpose="fine-tune"
        )
    assert upload.file is not None
    assert upload.file.bytes == MAX_PART_BYTES + 5


def test_an_empty_file_goes_up_too(sdk: OpenAI) -> None:
    upload = sdk.uploads.upload_file_chunked(
        file=b"", filename="none", bytes=0, mime_type="text/plain", purpose="fine-tune"
    )
    assert upload.file is not None
    assert upload.file.bytes == 0


def test_parts_that_come_side_by_side_all_arrive(sdk: OpenAI) -> None:
    pieces = [bytes([number]) * 70_000 for number in range(20)]
    whole = b"".join(pieces)
    upload = sdk.uploads.create(
        bytes=len(whole), filename="a", mime_type="text/plain", purpose="fine-tune"
    )

    def send_piece(piece: bytes) -> str:
        return sdk.uploads.parts.create(upload.id, data=piece).id

    with ThreadPoolExecutor(8) as pool:
        part_ids = list(pool.map(send_piece, pieces))
    done = sdk.uploads.complete(upload.id, part_ids=part_ids)
    assert done.file is not None
    assert sdk.files.content(done.file.id).read() == whole


def test_a_cancelled_upload_takes_nothing_more_and_keeps_no_bytes(
    sdk: OpenAI, settings: ApiSettings
) -> None:
    upload = sdk.uploads.create(bytes=10, filename="a", mime_type="text/plain", purpose="fine-tune")
    part = sdk.uploads.parts.create(upload.id, data=b"x" * 10)
    assert sdk.uploads.cancel(upload.id).status == "cancelled"
    assert sdk.uploads.cancel(upload.id).status == "cancelled"
    assert list((settings.home / "uploads" / upload.id / "parts").iterdir()) == []
    with pytest.raises(BadRequestError, match="is cancelled; expected a pending upload"):
        sdk.uploads.parts.create(upload.id, data=b"x")
    with pytest.raises(BadRequestError, match="is cancelled"):
        sdk.uploads.complete(upload.id, part_ids=[part.id])
    assert list(sdk.files.list()) == []


def test_another_completion_with_the_same_parts_gives_the_same_file(client: TestClient) -> None:
    upload_id = begin(client)
    part_ids = [send(client, upload_id, half) for half in HALVES]
    path = f"/uploads/{upload_id}/complete"
    first = client.post(path, json={"part_ids": part_ids}).json()
    assert client.post(path, json={"part_ids": part_ids}).json() == first
    assert client.get(f"/uploads/{upload_id}").json() == first
    assert len(client.get("/files").json()["data"]) == 1
    error = refused(client, f"{upload_id}/complete", json={"part_ids": part_ids[::-1]})
    assert "was already completed with other parts" in error["message"]
    assert "is completed" in refused(client, f"{upload_id}/cancel")["message"]
    client.delete(f"/files/{first['file']['id']}")
    gone = client.get(f"/uploads/{upload_id}").json()
    assert (gone["status"], gone["file"]) == ("completed", None)


def test_a_completion_that_is_refused_makes_no_file_and_can_be_sent_anew(
    client: TestClient, settings: ApiSettings
) -> None:
    upload_id = begin(client)
    parts = [send(client, upload_id, half) for half in HALVES]
    md5 = hashlib.md5(CONVERSATIONS).hexdigest()
    foreign = send(client, begin(client), HALVES[0])
    for part_ids, expected in (
        (parts[:1], f"the 1 parts have 40 bytes; expected the {len(CONVERSATIONS)}"),
        ([], "the 0 parts have 0 bytes"),
        ([parts[0], parts[0]], "2 times; expected parts of this upload, each once"),
        ([parts[0], foreign], f"found '{foreign}'; expected parts of this upload"),
        ([parts[0], "../" * 50], "expected parts of this upload"),
    ):
        error = refused(client, f"{upload_id}/complete", json={"part_ids": part_ids, "md5": md5})
        assert error["param"] == "part_ids"
        assert expected in error["message"]
    wrong = {"part_ids": parts[::-1], "md5": md5}
    error = refused(client, f"{upload_id}/complete", json=wrong)
    assert (error["param"], f"expected {md5}" in error["message"]) == ("md5", True)
    assert client.get("/files").json()["data"] == []
    assert list((settings.home / "files").iterdir()) == []
    right = {"part_ids": parts, "md5": md5.upper()}
    done = client.post(f"/uploads/{upload_id}/complete", json=right).json()
    assert done["status"] == "completed"
    content = client.get(f"/files/{done['file']['id']}/content").content
    assert content == CONVERSATIONS


def test_a_client_that_lost_its_memory_finds_its_parts(client: TestClient) -> None:
    upload_id = begin(client)
    sent = [send(client, upload_id, half) for half in HALVES]
    page = client.get(f"/uploads/{upload_id}/parts").json()
    assert [part["id"] for part in page["data"]] == sent
    assert [part["bytes"] for part in page["data"]] == [40, len(CONVERSATIONS) - 40]
    assert page["has_more"] is False
    assert client.get(f"/uploads/{upload_id}").json()["status"] == "pending"


def test_uploads_need_no_redis(settings: ApiSettings) -> None:
    app = create_app(settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")}))
    with TestClient(app, base_url="http://testserver/v1") as client:
        upload_id = begin(client)
        part_ids = [send(client, upload_id, half) for half in HALVES]
        response = client.post(f"/uploads/{upload_id}/complete", json={"part_ids": part_ids})
    assert response.json()["status"] == "completed"
