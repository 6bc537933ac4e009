"""Uploads beside disks that are small, full or read only: in TMPDIR, and in HOME."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.settings import ApiSettings
from tests.small_disk import fill, small_disk

CONTENT = b"x" * (3 * 2**20)
"""More than Starlette keeps in memory."""


@pytest.fixture
def full_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with small_disk(tmp_path / "tmpdir", num_bytes=2**16) as disk:
        fill(disk, leaving_bytes=0)
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        yield


@pytest.fixture
def home_disk(settings: ApiSettings) -> Iterator[Path]:
    with small_disk(settings.home, num_bytes=2**23) as disk:
        yield disk


def upload(client: TestClient, content: bytes = CONTENT) -> Any:
    data = {"purpose": "fine-tune"}
    return client.post("/files", files={"file": ("chats.json", content)}, data=data)


def begin(client: TestClient, num_bytes: int) -> str:
    request = {"filename": "chats.json", "purpose": "fine-tune", "bytes": num_bytes}
    created = client.post("/uploads", json=request | {"mime_type": "application/json"})
    return str(created.json()["id"])


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def readiness(client: TestClient) -> Any:
    return client.get("http://testserver/readyz")


def test_a_file_and_a_part_need_no_room_in_tmpdir(client: TestClient, full_tmpdir: None) -> None:
    stored = upload(client)
    assert stored.status_code == 200, stored.text
    content = client.get(f"/files/{stored.json()['id']}/content")
    assert content.content == CONTENT
    path = f"/uploads/{begin(client, len(CONTENT))}/parts"
    part = client.post(path, files={"data": ("part", CONTENT)})
    assert part.status_code == 200, part.text


def test_an_upload_that_home_has_no_room_for_is_507_and_logged(
    client: TestClient, home_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/uploads/{begin(client, len(CONTENT))}/parts"
    ballast = fill(home_disk, leaving_bytes=2**20)
    assert code_of(upload(client)) == (507, "storage_full")
    assert code_of(client.post(path, files={"data": ("part", CONTENT)})) == (507, "storage_full")
    assert "POST /v1/files: the upload can't be stored: No space left on device" in caplog.text
    ballast.unlink()
    fill(home_disk, leaving_bytes=0)
    ready = readiness(client)
    assert code_of(ready) == (503, "storage_failed")
    assert ready.json()["error"]["message"].startswith("HOME has no free space; ")
    assert f"HOME {home_disk} has no free space" in caplog.text
    # In memory until it is whole, so the room is missed later.
    assert code_of(upload(client, b"[]")) == (507, "storage_full")
    ballast.unlink()
    assert readiness(client).status_code == 200
    assert upload(client, b"[]").status_code == 200
    assert list((home_disk / "incoming").iterdir()) == []


def test_a_home_that_can_not_be_written_refuses_uploads_and_is_not_ready(
    client: TestClient, home_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert readiness(client).status_code == 200
    subprocess.run(["mount", "-o", "remount,ro", str(home_disk)], check=True)
    assert code_of(upload(client)) == (503, "storage_failed")
    assert code_of(upload(client, b"[]")) == (503, "storage_failed")
    assert "POST /v1/files: the upload can't be stored: Read-only file system" in caplog.text
    ready = readiness(client)
    assert code_of(ready) == (503, "storage_failed")
    assert ready.json()["error"]["message"].startswith("HOME is not writable; ")
    assert str(home_disk) not in ready.text
    assert f"{home_disk} can't be written: Read-only file system" in caplog.text
