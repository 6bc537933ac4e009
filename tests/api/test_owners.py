"""Owners: what belongs to one key does not exist for another, on no route."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis

from api.app import create_app
from api.auth import hash_of
from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS
from worker.jobs.job import model_id
from worker.jobs.storage.files import FILE_IDS
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.storage.upload import UPLOAD_IDS
from worker.jobs.store.serialization import Succeeded
from worker.jobs.store.store import JobStore

SCOPES = {"alice": "", "bob": "", "ops": ":read,submit,admin", "looker": ":read,admin"}
REQUEST = {"model": "flant5-demo", "training_file": "chats.json"}
UPLOAD = {"filename": "a", "purpose": "fine-tune", "bytes": 9, "mime_type": "text/jsonl"}


@pytest.fixture
def keyed(settings: ApiSettings, tmp_path: Path) -> FastAPI:
    file = tmp_path / "keys"
    lines = (f"{name}:{hash_of(name)}{scopes}\n" for name, scopes in SCOPES.items())
    file.write_text("".join(lines))
    changes = {"api_keys_file": file, "max_stored_bytes_per_key": 10_000}
    return create_app(settings.model_copy(update=changes))


@pytest.fixture
def http(keyed: FastAPI) -> Iterator[TestClient]:
    with TestClient(keyed, base_url="http://testserver", raise_server_exceptions=False) as client:
        yield client


def of(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


def upload_file(http: TestClient, name: str, content: bytes = CONVERSATIONS) -> Any:
    files = {"file": ("talks.json", content)}
    return http.post("/v1/files", files=files, data={"purpose": "fine-tune"}, headers=of(name))


def finished_job(http: TestClient, store: JobStore, name: str) -> str:
    """A job of `name` that succeeded; its id."""
    job_id: str = http.post("/v1/fine_tuning/jobs", json=REQUEST, headers=of(name)).json()["id"]
    assert store.accept(job_id)
    claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=600)
    assert claim is not None
    assert claim.job.id == job_id
    store.leases.finish(claim, Succeeded(model_id(job_id, claim.job.spec)))
    return job_id


@dataclass(frozen=True, slots=True)
class Things:
    """Ids of one thing of each kind, as the paths of the routes call them."""

    job_id: str
    file_id: str
    upload_id: str
    model: str

    def fill(self, template: str) -> str:
        return template.format(
            job_id=self.job_id,
            file_id=self.file_id,
            upload_id=self.upload_id,
            model=self.model,
            path="checkpoint-1/config.json",
            checkpoint="1",
        )

    def replaced(self, text: str, other: "Things") -> str:
        for mine, theirs in (
            (self.job_id, other.job_id),
            (self.file_id, other.file_id),
            (self.upload_id, other.upload_id),
            (self.model, other.model),
        ):
            text = text.replace(mine, theirs)
        return text


NOTHING = Things("ftjob-nothing", FILE_IDS.new(), UPLOAD_IDS.new(), "ft:flant5-demo:flant5::0")


@pytest.fixture
def alices(http: TestClient, store: JobStore) -> Things:
    job_id = finished_job(http, store, "alice")
    upload = http.post("/v1/uploads", json=UPLOAD, headers=of("alice")).json()
    model = model_id(job_id, store.get(job_id).spec)
    return Things(job_id, upload_file(http, "alice").json()["id"], upload["id"], model)


def routes_about_one_thing(app: FastAPI) -> list[tuple[str, str]]:
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return [
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if "{" in path and path.startswith("/v1")
    ]


def call(http: TestClient, method: str, url: str, *, name: str) -> Any:
    body: dict[str, Any] = {}
    if url.endswith("/parts") and method == "post":
        body = {"files": {"data": ("x", b"123")}}
    elif url.endswith("/complete"):
        body = {"json": {"part_ids": ["part_" + "0" * 26]}}
    return http.request(method, url, headers=of(name), **body)


def test_on_every_route_a_foreign_thing_is_answered_as_one_that_does_not_exist(
    keyed: FastAPI, http: TestClient, alices: Things
) -> None:
    routes = routes_about_one_thing(keyed)
    assert len(routes) >= 20
    for method, template in routes:
        foreign = call(http, method, alices.fill(template), name="bob")
        unknown = call(http, method, NOTHING.fill(template), name="bob")
        assert foreign.status_code == unknown.status_code == 404, (method, template, foreign.text)
        assert alices.replaced(foreign.text, NOTHING) == unknown.text, (method, template)
    # Nothing of it had an effect.
    for path in (f"files/{alices.file_id}", f"models/{alices.model}"):
        assert http.get(f"/v1/{path}", headers=of("alice")).status_code == 200
    upload = http.get(f"/v1/uploads/{alices.upload_id}", headers=of("alice")).json()
    assert upload["status"] == "pending"


def test_a_delete_that_is_refused_names_no_job_of_others(http: TestClient, alices: Things) -> None:
    request = REQUEST | {"training_file": alices.file_id}
    user = http.post("/v1/fine_tuning/jobs", json=request, headers=of("ops")).json()["id"]
    for name, says in (("alice", "a job of another owner"), ("ops", user)):
        answer = http.delete(f"/v1/files/{alices.file_id}", headers=of(name))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "in_use")
        assert f"is needed by {says}, which has not ended" in error["message"]
        assert (user in error["message"]) == (name == "ops")


@pytest.mark.parametrize("name", ["alice", "ops"])
def test_an_owner_and_an_admin_find_the_same_things(
    http: TestClient, alices: Things, name: str
) -> None:
    for path in (
        f"files/{alices.file_id}",
        f"files/{alices.file_id}/content",
        f"fine_tuning/jobs/{alices.job_id}",
        f"fine_tuning/jobs/{alices.job_id}/events",
        f"uploads/{alices.upload_id}",
        f"models/{alices.model}",
    ):
        assert http.get(f"/v1/{path}", headers=of(name)).status_code == 200, path


def test_lists_hold_what_the_key_may_see(http: TestClient, store: JobStore, alices: Things) -> None:
    bobs_job, bobs_file = finished_job(http, store, "bob"), upload_file(http, "bob").json()["id"]

    def ids(path: str, name: str) -> set[str]:
        found = http.get(f"/v1/{path}", headers=of(name)).json()["data"]
        return {each["id"] for each in found} - {"flant5-demo"}

    assert ids("fine_tuning/jobs", "alice") == {alices.job_id}
    assert ids("fine_tuning/jobs", "bob") == {bobs_job}
    assert ids("fine_tuning/jobs", "ops") == {alices.job_id, bobs_job}
    assert ids("files", "bob") == {bobs_file}
    assert ids("files", "looker") == {alices.file_id, bobs_file}
    assert ids("models", "alice") == {alices.model}
    assert len(ids("models", "ops")) == 2


def test_a_page_of_ones_own_jobs_goes_on_behind_the_jobs_of_others(
    http: TestClient, store: JobStore
) -> None:
    mine = [finished_job(http, store, "alice") for _ in range(3)]
    for _ in range(3):
        finished_job(http, store, "bob")
    seen: list[str] = []
    while True:
        params: dict[str, str | int] = {"limit": 1}
        if seen:
            params["after"] = seen[-1]
        page = http.get("/v1/fine_tuning/jobs", params=params, headers=of("alice")).json()
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
    assert seen == mine[::-1]
    other = {"after": store.list(after=None, limit=1).items[0].id}
    refused = http.get("/v1/fine_tuning/jobs", params=other, headers=of("alice"))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "after")


@pytest.mark.parametrize("param", ["training_file", "validation_file", "model"])
def test_a_job_names_no_foreign_thing(http: TestClient, alices: Things, param: str) -> None:
    foreign = alices.model if param == "model" else alices.file_id
    unknown = NOTHING.model if param == "model" else NOTHING.file_id
    answers = [
        http.post("/v1/fine_tuning/jobs", json={**REQUEST, param: named}, headers=of("bob"))
        for named in (foreign, unknown)
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    errors = [answer.json()["error"] for answer in answers]
    assert errors[0]["param"] == param
    assert errors[0]["message"].replace(foreign, unknown) == errors[1]["message"]


def test_a_report_names_no_foreign_model(http: TestClient, alices: Things) -> None:
    file_id = upload_file(http, "bob").json()["id"]
    url = f"/v1/files/{file_id}/report"
    answer = http.get(url, params={"model": alices.model}, headers=of("bob"))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


def test_a_chat_is_with_no_foreign_model(
    http: TestClient, settings: ApiSettings, alices: Things
) -> None:
    output = settings.home_directories.run_directory(alices.job_id).output
    output.mkdir(parents=True)
    (output / "config.json").write_text("{}")

    def ask(name: str, model: str) -> Any:
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        return http.post("/v1/chat/completions", json=body, headers=of(name))

    foreign, unknown = ask("bob", alices.model), ask("bob", NOTHING.model)
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert alices.replaced(foreign.text, NOTHING) == unknown.text
    for name in ("alice", "ops"):
        assert ask(name, alices.model).json()["error"]["code"] == "no_serving_process"
    assert ask("looker", alices.model).status_code == 403


def test_a_lost_job_is_told_to_its_owner_alone(
    http: TestClient, settings: ApiSettings, alices: Things, redis: Redis
) -> None:
    assert JobRecordStore(settings.home_directories).read(alices.job_id).owner == "alice"
    redis.flushall()
    url = f"/v1/fine_tuning/jobs/{alices.job_id}"
    codes = {name: http.get(url, headers=of(name)).status_code for name in ("alice", "bob", "ops")}
    assert codes == {"alice": 503, "bob": 404, "ops": 503}


def test_a_key_does_what_its_scopes_say(keyed: FastAPI, http: TestClient, alices: Things) -> None:
    jobs = "/v1/fine_tuning/jobs"
    assert http.get(jobs, headers=of("looker")).status_code == 200
    assert http.get("/metrics", headers=of("looker")).status_code == 200
    refused = http.post(jobs, json=REQUEST, headers=of("looker"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")
    message = "the key of looker has the scopes read, admin; this request needs submit"
    assert refused.json()["error"]["message"] == message
    for method, template in routes_about_one_thing(keyed):
        if method != "get":
            answer = call(http, method, alices.fill(template), name="looker")
            assert answer.status_code == 403, (method, template)
    for (method, path), name in itertools.product(
        (("POST", "/v1/recover"), ("GET", "/v1/recover"), ("GET", "/metrics")), ("alice", "bob")
    ):
        assert http.request(method, path, headers=of(name)).status_code == 403, path
    assert http.post("/v1/recover", headers=of("ops")).status_code == 202


def test_a_key_stores_as_much_as_it_may_and_again_after_a_deletion(http: TestClient) -> None:
    first = upload_file(http, "alice", b"x" * 6000).json()["id"]
    refused = upload_file(http, "alice", b"x" * 4001)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (429, "storage_quota")
    assert "6000 of 10000 bytes are used" in error["message"]
    assert refused.headers["x-should-retry"] == "false"
    parts = http.post("/v1/uploads", json={**UPLOAD, "bytes": 4000}, headers=of("alice"))
    assert parts.status_code == 200
    assert upload_file(http, "alice", b"x").status_code == 429
    assert upload_file(http, "bob", b"x" * 6000).status_code == 200
    assert http.delete(f"/v1/files/{first}", headers=of("alice")).status_code == 200
    assert upload_file(http, "alice", b"x").status_code == 200
