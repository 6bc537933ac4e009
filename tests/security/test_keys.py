"""Keys: where they are taken, and where they must not turn up."""

import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.auth import hash_of, new_key
from api.settings import ApiSettings

KEY = new_key()


@pytest.fixture
def guarded(settings: ApiSettings, tmp_path: Path) -> TestClient:
    keys = tmp_path / "keys"
    keys.write_text(f"alice:{hash_of(KEY)}\n")
    return TestClient(create_app(settings.model_copy(update={"api_keys_file": keys})))


@pytest.mark.parametrize("name", ["api_key", "key", "access_token", "authorization", "x"])
def test_a_key_in_the_query_string_opens_nothing(guarded: TestClient, name: str) -> None:
    assert guarded.get("/v1/files", params={name: "f5-short"}).status_code == 401
    response = guarded.get("/v1/files", params={name: KEY})
    assert response.status_code == 400
    assert "revoke this key" in response.json()["error"]["message"]
    # Nor beside a good header: it is in somebody's log by now.
    headers = {"authorization": f"Bearer {KEY}"}
    assert guarded.get("/v1/files", params={name: KEY}, headers=headers).status_code == 400
    assert guarded.get("/v1/files", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"cookie": f"authorization=Bearer {KEY}"},
        {"authorization": KEY},
        {"authorization": f"Basic {KEY}"},
        {"authorization": f"Bearer {KEY} x"},
        {"proxy-authorization": f"Bearer {KEY}"},
    ],
)
def test_a_key_in_any_other_place_opens_nothing(
    guarded: TestClient, headers: dict[str, str]
) -> None:
    assert guarded.get("/v1/files", headers=headers).status_code == 401


def test_no_key_gets_into_the_log_the_audit_log_or_an_answer(
    guarded: TestClient, settings: ApiSettings, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = new_key()
    with caplog.at_level(logging.DEBUG):
        answers = [
            guarded.get("/v1/files", params={"key": KEY}),
            guarded.get("/v1/files", headers={"authorization": f"Bearer {wrong}"}),
            guarded.post("/v1/uploads", headers={"authorization": f"Bearer {KEY}"}, content=b"{"),
        ]
    audit = "".join(path.read_text() for path in (settings.home / "audit").glob("*"))
    log = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("api")
    )
    texts = [log, audit, *(answer.text for answer in answers)]
    assert audit.count("\n") == 2
    for text in texts:
        assert text
        assert KEY not in text
        assert wrong not in text


def test_keys_are_on_disk_as_hashes_only(settings: ApiSettings, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"alice:{hash_of(KEY)}\n")
    guarded = TestClient(create_app(settings.model_copy(update={"api_keys_file": keys})))
    headers = {"authorization": f"Bearer {KEY}"}
    spec = {"model": "flant5-demo", "training_file": "chats.json"}
    assert guarded.post("/v1/fine_tuning/jobs", json=spec, headers=headers).status_code == 200
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    redis = guarded.app.state.services.redis  # type: ignore[attr-defined]
    found = [redis.dump(key) for key in redis.keys("*")]
    assert found
    assert not any(KEY.encode() in content for content in map(str.encode, map(repr, found)))
