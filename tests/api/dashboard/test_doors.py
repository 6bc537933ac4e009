"""Which requests are the dashboard's, and what comes of those of nobody."""

import gc
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.auth import KeyRing, hash_of
from api.dashboard.new_job.fields import Value
from api.dashboard.new_job.page import FIELDS, prefill
from api.dashboard.ui.auth import SESSION_SECONDS, Sessions
from api.schemas.jobs import CreateJob
from api.settings import ApiSettings
from flant5_train.config import Hyperparameters


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"alice:{hash_of('alice')}\nsender:{hash_of('sender')}:submit\n")
    return path


@pytest.fixture
def http(settings: ApiSettings, keys_file: Path) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update={"api_keys_file": keys_file}))
    with TestClient(app, base_url="http://testserver", follow_redirects=False) as client:
        yield client


def test_whoever_is_nobody_is_sent_to_the_login_and_back(http: TestClient) -> None:
    answer = http.get("/jobs/ftjob-1?a=b")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fjobs%2Fftjob-1%3Fa%3Db"
    assert http.post("/upload", files={"file": ("a", b"[]")}).status_code == 401


def test_a_file_dropped_on_a_page_waits_on_the_disk_of_home(
    app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    # NiceGUI looks for its server among all objects of the process; other tests have left some that
    # warn when they are looked at.
    monkeypatch.setattr(gc, "get_objects", list)
    content = b"x" * 2**21
    with TestClient(app, base_url="http://testserver") as client:
        stored = client.post("/upload", files={"file": ("chats.json", content)})
    assert stored.status_code == 200, stored.text
    assert stored.json()["bytes"] == len(content)


def test_paths_of_the_api_that_do_not_exist_are_answered_by_the_api(app: FastAPI) -> None:
    with TestClient(app, base_url="http://testserver") as client:
        assert client.get("/v1/nothing").json()["error"]["code"] == "not_found"
        assert client.get("/nothing").json()["error"]["code"] == "not_found"
        answer = client.delete("/v1/models")
        assert answer.json()["error"]["code"] == "method_not_allowed"


def test_an_api_that_nobody_looks_at_does_not_load_the_pages(tmp_path: Path) -> None:
    program = (
        "import sys; from api.app import create_app; from api.settings import ApiSettings;"
        f"create_app(ApiSettings(home={str(tmp_path)!r}, redis_url='redis://127.0.0.1:1'));"
        "sys.exit('nicegui' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_session_ends_with_its_key_its_time_and_a_log_out(keys_file: Path) -> None:
    now = [0.0]
    sessions = Sessions(KeyRing(keys_file), clock=lambda: now[0])
    assert sessions.begin("wrong") is None
    assert sessions.begin("sender") is None, "it may not look"
    token = sessions.begin("alice")
    other = sessions.begin("alice")
    caller = sessions.caller_of(token)
    assert caller is not None
    assert caller.owner == "alice"
    sessions.end(token)
    assert sessions.caller_of(token) is None
    assert sessions.caller_of(other) is not None
    now[0] = SESSION_SECONDS
    assert sessions.caller_of(other) is None
    now[0] = 0.0
    keys_file.write_text("# revoked\n")
    assert sessions.caller_of(other) is None


def test_each_hyperparameter_has_a_field_with_its_default_range_and_help() -> None:
    for name, info in Hyperparameters.model_fields.items():
        field = FIELDS[name]
        assert field.default == info.default
        assert field.help
        assert field.kind != "whole" or None not in (field.range.least, field.range.most)
        text = field.to_text(field.default)
        assert field.parse(text) == field.default or field.default is None
    assert str(FIELDS["learning_rate"].range) == "above 0, to 1"
    assert 0.0 not in FIELDS["learning_rate"].range
    assert FIELDS["batching"].choices == ("padded", "bucketed", "packed")


def test_what_is_filled_in_is_a_create_and_what_is_wrong_is_said() -> None:
    assert prefill({"model": "flant5-demo"}) is None
    values: dict[str, Value] = {
        "model": "flant5-demo",
        "training_file": "a.json",
        "suffix": "x",
        "save_steps": 5,
    }
    request = prefill(values)
    assert isinstance(request, CreateJob)
    assert request.method is not None
    assert request.method.supervised is not None
    assert request.method.supervised.hyperparameters is not None
    assert request.method.supervised.hyperparameters.save_steps == 5
    assert request.suffix == "x"
    fault = prefill(values | {"save_steps": 0})
    assert isinstance(fault, str)
    assert "save_steps: input should be greater than or equal to 1, got 0" in fault
