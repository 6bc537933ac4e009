"""A browser is no way in: pages of others get nothing, and nothing that is sent runs as a page."""

import json

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS

HTML = '<img src=x onerror="alert(1)">.json'


@pytest.mark.parametrize(
    "path", ["/v1/files", "/v1/nothing", "/v1/models", "/healthz", "/metrics", "/docs", "/nothing"]
)
def test_every_answer_says_what_a_browser_must_not_do(client: TestClient, path: str) -> None:
    headers = client.get(f"http://testserver{path}").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    is_data = path.startswith("/v1")
    assert ("default-src 'none'" in headers["content-security-policy"]) == is_data
    assert (headers.get("cache-control") == "no-store") == is_data


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://testserver.evil.test"])
def test_a_page_of_another_site_gets_nothing_and_changes_nothing(
    client: TestClient, origin: str
) -> None:
    headers = {"origin": origin}
    files = {"file": ("a.json", CONVERSATIONS)}
    upload = client.post("/files", files=files, data={"purpose": "fine-tune"}, headers=headers)
    look = client.get("/files", headers=headers)
    asked = client.options("/files", headers=headers | {"access-control-request-method": "DELETE"})
    for response in (upload, look, asked):
        assert response.status_code == 403
        assert response.json()["error"]["type"] == "permission_error"
        allowed = [name for name in response.headers if name.startswith("access-control-")]
        assert not allowed
    assert client.get("/files").json()["data"] == []


def test_a_page_of_this_server_may_ask(client: TestClient) -> None:
    response = client.get("/files", headers={"origin": "http://testserver"})
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


def test_without_keys_the_server_answers_to_no_name_of_others(
    client: TestClient, settings: ApiSettings
) -> None:
    for host, status in (
        ("evil.test", 403),
        ("evil.test:8000", 403),
        ("127.0.0.1.evil.test", 403),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("localhost", 200),
    ):
        assert client.get("/files", headers={"host": host}).status_code == status, host
    keys = settings.home.parent / "keys"
    keys.write_text("")
    guarded = TestClient(create_app(settings.model_copy(update={"api_keys_file": keys})))
    # With keys it is they that count: a proxy may call the server by any name.
    assert guarded.get("/v1/files", headers={"host": "gpu.example.org"}).status_code == 401


def test_html_in_a_name_stays_data(client: TestClient) -> None:
    file = client.post(
        "/files", files={"file": (HTML, CONVERSATIONS)}, data={"purpose": "fine-tune"}
    ).json()
    spec = {
        "model": "flant5-demo",
        "training_file": file["id"],
        "metadata": {HTML: HTML},
    }
    job = client.post("/fine_tuning/jobs", json=spec).json()
    assert job["metadata"] == {HTML: HTML}
    for path in (f"/files/{file['id']}", "/files", f"/fine_tuning/jobs/{job['id']}", f"/{HTML}"):
        response = client.get(path)
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-content-type-options"] == "nosniff"
        json.loads(response.text)


def test_a_file_is_saved_and_never_shown(client: TestClient) -> None:
    page = b"<script>alert(1)</script>"
    file = client.post(
        "/files", files={"file": ("a.html", page)}, data={"purpose": "fine-tune"}
    ).json()
    response = client.get(f"/files/{file['id']}/content")
    assert response.content == page
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment;")
    assert "default-src 'none'" in response.headers["content-security-policy"]
