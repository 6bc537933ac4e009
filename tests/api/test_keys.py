"""API keys: who gets in, and what a server refuses to start with."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr, ValidationError

from api.app import create_app
from api.auth import (
    DEFAULT_SCOPES,
    Caller,
    KeyRing,
    KeysFileError,
    Scope,
    hash_of,
    new_key,
    read_keys,
)
from api.settings import ApiSettings


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# who may call\n\nalice:{hash_of('f5-alice')}\n")
    return path


@pytest.fixture
def guarded(tmp_path: Path, redis_url: SecretStr, keys_file: Path) -> TestClient:
    settings = ApiSettings(home=tmp_path, redis_url=redis_url, api_keys_file=keys_file)
    return TestClient(create_app(settings))


def status(client: TestClient, path: str = "/v1/models", *, authorization: str = "") -> int:
    headers = {b"authorization": authorization.encode("latin-1")} if authorization else {}
    return client.get(path, headers=headers).status_code


def test_a_known_key_gets_in_and_nothing_else_does(guarded: TestClient) -> None:
    assert status(guarded, authorization="Bearer f5-alice") == 200
    for wrong in ("", "Bearer ", "Bearer f5-bob", "Basic f5-alice", "f5-alice", "Bearer \xff"):
        assert status(guarded, authorization=wrong) == 401, wrong


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1/fine_tuning/jobs/x/events", "/v1/files/x/content", "/v1"]
)
def test_without_a_key_all_of_v1_is_closed(guarded: TestClient, path: str) -> None:
    response = guarded.get(path)
    assert response.status_code == 401
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert "Authorization: Bearer" in error["message"]
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-request-id"]


def test_a_large_upload_without_a_key_is_refused_unread(guarded: TestClient) -> None:
    files = {"file": ("big.json", b"x" * 2**22)}
    response = guarded.post("/v1/files", files=files, data={"purpose": "fine-tune"})
    assert response.status_code == 401


def test_health_needs_no_key(guarded: TestClient) -> None:
    assert status(guarded, "/healthz") == status(guarded, "/readyz") == 200


def test_keys_come_and_go_without_a_restart(guarded: TestClient, keys_file: Path) -> None:
    keys_file.write_text(f"bob:{hash_of('f5-bob')}\n")
    assert status(guarded, authorization="Bearer f5-alice") == 401
    assert status(guarded, authorization="Bearer f5-bob") == 200


def test_the_ring_knows_whose_key_it_is(keys_file: Path) -> None:
    ring = KeyRing(keys_file)
    assert ring.caller_of("f5-alice") == Caller("alice", DEFAULT_SCOPES)
    assert ring.caller_of(hash_of("f5-alice")) is None
    keys_file.unlink()
    with pytest.raises(KeysFileError, match="can't be read"):
        ring.caller_of("f5-alice")


def test_new_keys_are_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("f5-") and len(key) >= 46 for key in keys)


def test_a_key_ends_at_its_expiry(guarded: TestClient, keys_file: Path) -> None:
    lines = (
        f"old:{hash_of('f5-old')}::20200101T000000Z\nnew:{hash_of('f5-new')}:read:29990101T000000Z"
    )
    keys_file.write_text(lines)
    assert status(guarded, authorization="Bearer f5-old") == 401
    assert status(guarded, authorization="Bearer f5-new") == 200


def test_a_line_is_written_as_it_is_read(keys_file: Path) -> None:
    line = f"alice:{'0' * 64}:read,admin:20300131T235959Z"
    keys_file.write_text(line)
    (key,) = read_keys(keys_file)
    assert key.line == line
    assert (key.name, key.id) == ("alice", "0" * 8)
    assert key.scopes == frozenset({Scope.READ, Scope.ADMIN})
    assert key.expires_at == datetime(2030, 1, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        "alice:12",
        f"a b:{'0' * 64}",
        f"{'0' * 64}:alice",
        f"alice:{'0' * 64}:write",
        f"alice:{'0' * 64}:admin",
        f"alice:{'0' * 64}:read:2027-01-01",
        f"alice:{'0' * 64}:read:20271301T000000Z",
    ],
)
def test_a_malformed_keys_file_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"alice:{'0' * 64}\n{line}\n")
    with pytest.raises(KeysFileError, match=r"line 2: .*expected `name:sha256`"):
        read_keys(path)
    with pytest.raises(KeysFileError):
        create_app(ApiSettings(home=tmp_path, api_keys_file=path))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "gpu-1"])
def test_listening_beyond_this_machine_needs_keys(keys_file: Path, host: str) -> None:
    with pytest.raises(ValidationError, match="no API keys are configured"):
        ApiSettings(host=host)
    assert ApiSettings(host=host, api_keys_file=keys_file).host == host
