"""A caller that sends too much is told when to come back; the SDK does."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from openai import OpenAI, RateLimitError

from api.app import create_app
from api.auth import hash_of
from api.http.rate_limit import GcraLimiter
from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_may_come_at_once_and_then_one_by_one() -> None:
    clock = Clock()
    allowance = GcraLimiter(6, clock)
    assert [allowance.wait_seconds("alice") for _ in range(6)] == [0.0] * 6
    assert allowance.wait_seconds("alice") == pytest.approx(10)
    assert allowance.wait_seconds("bob") == 0.0
    clock.now += 9
    assert allowance.wait_seconds("alice") == pytest.approx(1)
    clock.now += 1
    assert allowance.wait_seconds("alice") == 0.0
    assert allowance.wait_seconds("alice") > 0
    clock.now += 600
    assert [allowance.wait_seconds("alice") for _ in range(6)] == [0.0] * 6
    assert allowance.wait_seconds("alice") > 0


def test_callers_who_are_gone_are_forgotten() -> None:
    clock = Clock()
    allowance = GcraLimiter(60, clock)
    for number in range(10_002):
        assert allowance.wait_seconds(f"address {number}") == 0
    clock.now += 60
    allowance.wait_seconds("one more")
    assert len(allowance._theoretical_arrival_time) < 10


@pytest.fixture
def settings(settings: ApiSettings, tmp_path: Path) -> ApiSettings:
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{name}:{hash_of(f'f5-{name}')}\n" for name in ("alice", "bob")))
    limits = {
        "api_keys_file": keys,
        "max_submits_per_minute": 2,
        "max_uploads_per_minute": 3,
        "max_requests_per_minute": 4,
    }
    return settings.model_copy(update=limits)


def headers(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer f5-{name}"}


def test_each_kind_of_request_has_a_limit_of_its_own_for_each_key(client: TestClient) -> None:
    def submit(name: str) -> int:
        spec = {"model": "flant5-demo", "training_file": "chats.json"}
        return client.post("/fine_tuning/jobs", json=spec, headers=headers(name)).status_code

    def upload(name: str) -> int:
        files = {"file": ("a.json", CONVERSATIONS)}
        data = {"purpose": "fine-tune"}
        return client.post("/files", files=files, data=data, headers=headers(name)).status_code

    def look(name: str) -> int:
        return client.get("/files", headers=headers(name)).status_code

    assert [submit("alice") for _ in range(3)] == [200, 200, 429]
    assert [upload("alice") for _ in range(4)] == [200, 200, 200, 429]
    assert [look("alice") for _ in range(5)] == [200, 200, 200, 200, 429]
    assert (submit("bob"), upload("bob"), look("bob")) == (200, 200, 200)
    assert client.get("http://testserver/healthz").status_code == 200


def test_the_answer_says_when_to_come_back(client: TestClient) -> None:
    for _ in range(4):
        client.get("/files", headers=headers("alice"))
    response = client.get("/files", headers=headers("alice"))
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit")
    assert response.headers["x-should-retry"] == "true"
    assert 1 <= int(response.headers["retry-after"]) <= 15
    assert response.headers["x-request-id"]


def test_strangers_do_not_use_up_what_a_key_may_send(client: TestClient) -> None:
    for _ in range(9):
        assert client.get("/files", headers=headers("stranger")).status_code == 401
    assert client.get("/files", headers=headers("alice")).status_code == 200


def test_the_sdk_raises_its_own_error(server_url: str) -> None:
    with OpenAI(base_url=server_url, api_key="f5-alice", max_retries=0) as sdk:
        for _ in range(4):
            sdk.files.list(limit=1)
        with pytest.raises(RateLimitError, match="retry in"):
            sdk.files.list(limit=1)


def test_there_is_no_limit_unless_one_is_set(settings: ApiSettings) -> None:
    free = settings.model_copy(
        update={
            "max_submits_per_minute": 0,
            "max_uploads_per_minute": 0,
            "max_requests_per_minute": 0,
        }
    )
    client = TestClient(create_app(free))
    statuses = {client.get("/v1/files", headers=headers("alice")).status_code for _ in range(50)}
    assert statuses == {200}
