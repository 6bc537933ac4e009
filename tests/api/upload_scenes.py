"""Uploads for tests of their routes."""

from typing import Any

from fastapi.testclient import TestClient

from tests.api.scenes import CONVERSATIONS

HALVES = (CONVERSATIONS[:40], CONVERSATIONS[40:])
UNKNOWN = "upload_" + "0" * 26


def begin(client: TestClient, num_bytes: int = len(CONVERSATIONS), **fields: Any) -> str:
    body = {"bytes": num_bytes, "filename": "talks.jsonl", "mime_type": "text/jsonl"}
    response = client.post("/uploads", json={"purpose": "fine-tune", **body, **fields})
    assert response.status_code == 200, response.text
    upload_id: str = response.json()["id"]
    return upload_id


def send(client: TestClient, upload_id: str, data: bytes) -> str:
    response = client.post(f"/uploads/{upload_id}/parts", files={"data": data})
    assert response.status_code == 200, response.text
    part_id: str = response.json()["id"]
    return part_id


def refused(client: TestClient, path: str, **request: Any) -> dict[str, Any]:
    response = client.post(f"/uploads/{path}".rstrip("/"), **request)
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    return error
