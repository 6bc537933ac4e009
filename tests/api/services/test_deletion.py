"""Deleted is deleted: files, keys and answers; and what somebody still needs stays."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import NotFoundError, OpenAI
from redis import Redis

from api.settings import ApiSettings
from tests.api.ended_jobs import MODEL, EndedJob, add_files, ended_job
from tests.api.scenes import CONVERSATIONS, claim_new_job, make_job
from worker.jobs.deletion import Deletions
from worker.jobs.job import Job, JobError, Status
from worker.jobs.storage.files import FileStore
from worker.jobs.storage.job_files import num_bytes_of
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.storage.lock import take_lock
from worker.jobs.store.serialization import Cancelled, Failed, Outcome
from worker.jobs.store.store import JobStore


@pytest.fixture
def done(store: JobStore, settings: ApiSettings) -> EndedJob:
    """A job that succeeded, with its files."""
    return ended_job(store, settings.home_directories)


def jobs_url(job: Job) -> str:
    return f"/fine_tuning/jobs/{job.id}"


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_a_deleted_job_leaves_no_file_and_no_key(
    client: TestClient, store: JobStore, settings: ApiSettings, redis: Redis, status: str
) -> None:
    outcomes: dict[str, Outcome] = {
        "failed": Failed(JobError(code="internal", message="no")),
        "cancelled": Cancelled(),
    }
    done = ended_job(store, settings.home_directories, outcome=outcomes.get(status))
    other = ended_job(store, settings.home_directories)
    paths = [done.files.run_directory.path, settings.home_directories.files / done.result_file]
    size = num_bytes_of(*paths)
    answer = client.delete(jobs_url(done.job))
    assert (answer.status_code, answer.json()) == (
        200,
        {"id": done.job.id, "object": "fine_tuning.job", "deleted": True, "freed_bytes": size},
    )
    assert size > 3000
    assert not any(path.exists() for path in paths)
    for path in (
        "",
        "/events",
        "/logs",
        "/checkpoints",
        "/metrics",
        "/artifacts",
        "/artifacts/model.safetensors",
    ):
        assert client.get(jobs_url(done.job) + path).status_code == 404, path
    for path in (
        f"models/{done.model}",
        f"models/{done.model}:ckpt-step-4",
        f"files/{done.result_file}",
        f"files/{done.result_file}/content",
    ):
        assert client.get(path).status_code == 404, path
    assert [job["id"] for job in client.get("/fine_tuning/jobs").json()["data"]] == [other.job.id]
    assert traces(redis, done.job.id) == []
    assert store.models.all() == {other.model: other.job.id}
    assert other.all_is_there()


def traces(redis: Redis, text: str) -> list[str]:
    """Keys that name a text, or hold it."""
    found = []
    for key in redis.scan_iter():
        value = redis.dump(key)
        assert value is not None
        if text in key or text.encode() in raw(redis, key):
            found.append(key)
    return found


def raw(redis: Redis, key: str) -> bytes:
    read: dict[str, Callable[[], object]] = {
        "string": lambda: redis.get(key),
        "hash": lambda: redis.hgetall(key),
        "set": lambda: redis.smembers(key),
        "zset": lambda: redis.zrange(key, 0, -1),
        "list": lambda: redis.lrange(key, 0, -1),
        "stream": lambda: redis.xrange(key),
    }
    return repr(read[str(redis.type(key))]()).encode()


@pytest.mark.parametrize("repeat", ["again", "retry"])
def test_a_second_delete_is_a_404_and_a_retry_gets_the_first_answer(
    client: TestClient, done: EndedJob, repeat: str
) -> None:
    headers = {"x-stainless-retry-count": "1"} if repeat == "retry" else {}
    for url in (f"models/{done.model}", jobs_url(done.job)):
        first = client.delete(url)
        assert first.status_code == 200, first.text
        second = client.delete(url, headers=headers)
        if repeat == "retry":
            assert (second.status_code, second.json()) == (200, first.json())
        else:
            assert (second.status_code, second.json()["error"]["code"]) == (404, "not_found")


def test_only_an_ended_job_can_be_deleted_as_a_whole_or_in_part(
    client: TestClient, store: JobStore, settings: ApiSettings
) -> None:
    running = claim_new_job(store).job
    queued, paused, new = (make_job(store) for _ in range(3))
    assert store.accept(queued.id)
    store.pause(paused.id)
    for job in (running, queued, paused, new):
        add_files(job, settings.home_directories)
        status = store.get(job.id).status
        for path in ("", "/checkpoints/4"):
            answer = client.delete(jobs_url(job) + path)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (409, "job_not_ended"), status
            assert f"job {job.id} is {status}" in error["message"]
            assert "cancel it first" in error["message"]
            assert answer.headers["x-should-retry"] == "false"
        store.cancel(job.id)
        if job is not running:
            assert client.delete(jobs_url(job)).status_code == 200


def test_a_deleted_model_leaves_the_job_its_history_and_its_checkpoints(
    client: TestClient, done: EndedJob
) -> None:
    size = num_bytes_of(*done.files.model)
    before = client.get(jobs_url(done.job)).json()
    answer = client.delete(f"/models/{done.model}")
    assert answer.json() == {
        "id": done.model, "object": "model", "deleted": True, "freed_bytes": size,
    }  # fmt: skip
    assert client.get(f"/models/{done.model}").status_code == 404
    assert client.get(jobs_url(done.job)).json() == before | {"fine_tuned_model": None}
    listed = client.get(jobs_url(done.job) + "/artifacts").json()["data"]
    assert {each["id"] for each in listed} == {f"checkpoint-{n}/{f}" for n in (4, 8) for f in MODEL}
    assert client.get(jobs_url(done.job) + "/artifacts/model.safetensors").status_code == 404
    events = client.get(jobs_url(done.job) + "/events").json()["data"]
    assert events[0]["message"] == f"Model {done.model} deleted: {size} bytes freed"
    assert client.get(f"/models/{done.model}:ckpt-step-4").status_code == 200
    assert len(client.get(jobs_url(done.job) + "/checkpoints").json()["data"]) == 2


@pytest.mark.parametrize("name", ["step", "id", "model"])
def test_a_checkpoint_is_deleted_by_its_step_its_id_and_its_model(
    client: TestClient, done: EndedJob, name: str
) -> None:
    url = jobs_url(done.job) + "/checkpoints"
    eight, four = client.get(url).json()["data"]
    assert (eight["step_number"], four["step_number"]) == (8, 4)
    model = four["fine_tuned_model_checkpoint"]
    path = {"step": f"{url}/4", "id": f"{url}/{four['id']}", "model": f"/models/{model}"}[name]
    size = num_bytes_of(done.files.checkpoint(4))
    answer = client.delete(path)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["freed_bytes"]) == (model, size)
    assert [each["step_number"] for each in client.get(url).json()["data"]] == [8]
    assert not list(done.files.run_directory.output.glob("*checkpoint-4*"))
    assert client.get(f"/models/{model}").status_code == 404
    event = client.get(jobs_url(done.job) + "/events").json()["data"][0]
    assert event["message"] == f"Checkpoint of step 4 deleted: {size} bytes freed"
    second = client.delete(path)
    assert (second.status_code, second.json()["error"]["code"]) == (404, "not_found")
    assert client.get(f"/models/{done.model}").status_code == 200


def test_a_checkpoint_that_is_only_listed_any_more_can_be_deleted(
    client: TestClient, done: EndedJob
) -> None:
    shutil.rmtree(done.files.checkpoint(4))
    url = jobs_url(done.job) + "/checkpoints"
    assert client.delete(f"{url}/4").json()["freed_bytes"] == 0
    assert [each["step_number"] for each in client.get(url).json()["data"]] == [8]
    assert client.delete(f"{url}/4").status_code == 404


@pytest.mark.parametrize("checkpoint", ["5", "ftckpt_1-1", "x", "0", "9" * 40, "-4", "4 ", "٤"])
def test_a_checkpoint_that_is_not_there_is_not_found(
    client: TestClient, done: EndedJob, checkpoint: str
) -> None:
    answer = client.delete(f"{jobs_url(done.job)}/checkpoints/{checkpoint}")
    assert answer.status_code == 404
    assert "no checkpoint" in answer.json()["error"]["message"]
    assert done.all_is_there()


@pytest.mark.parametrize("status", ["validating_files", "queued", "running", "paused"])
@pytest.mark.parametrize("base", ["model", "checkpoint"])
def test_what_a_job_that_has_not_ended_starts_from_is_not_deleted(
    client: TestClient, store: JobStore, done: EndedJob, base: str, status: str
) -> None:
    model = done.model if base == "model" else f"{done.model}:ckpt-step-4"
    user = make_job(store, model=model)
    if status != "validating_files":
        assert store.accept(user.id)
    if status == "running":
        assert store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=60)
    if status == "paused":
        store.pause(user.id)
    assert store.get(user.id).status == status
    for url in (f"/models/{model}", jobs_url(done.job)):
        answer = client.delete(url)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "in_use"), url
        assert f"is needed by {user.id}" in error["message"]
    assert done.all_is_there()
    # What it does not start from can go.
    other = f"{done.model}:ckpt-step-4" if base == "model" else done.model
    assert client.delete(f"/models/{other}").status_code == 200
    if status == "running":
        claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=60)
        assert claim is None
        return
    store.cancel(user.id)
    assert client.delete(jobs_url(done.job)).status_code == 200


def test_a_file_that_a_job_still_needs_is_not_deleted(client: TestClient, store: JobStore) -> None:
    files = {"file": ("talks.json", CONVERSATIONS)}
    file_id = client.post("/files", files=files, data={"purpose": "fine-tune"}).json()["id"]
    trains = make_job(store, training_file=file_id)
    validates = make_job(store, validation_file=file_id)
    store.pause(validates.id)
    for job in (trains, validates):
        answer = client.delete(f"/files/{file_id}")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "in_use")
        assert f"file {file_id} is needed by" in error["message"]
        assert job.id in error["message"]
        store.cancel(job.id)
    assert client.delete(f"/files/{file_id}").status_code == 200


@pytest.mark.parametrize("thing", ["file", "job", "model", "checkpoint"])
def test_a_create_that_meets_a_deletion_of_what_it_names_is_refused(
    client: TestClient,
    store: JobStore,
    done: EndedJob,
    thing: str,
    settings: ApiSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {"file": ("talks.json", CONVERSATIONS)}
    file_id = client.post("/files", files=files, data={"purpose": "fine-tune"}).json()["id"]
    home = settings.home_directories
    deletions, submit = Deletions(store, home), JobStore.submit
    delete: Callable[[], object] = {
        "file": lambda: FileStore(home, None).delete(file_id),
        "job": lambda: deletions.delete_job(done.job.id),
        "model": lambda: deletions.delete_model(done.job.id),
        "checkpoint": lambda: store.deleted.claim_checkpoint(done.job, 4),
    }[thing]
    model = {"file": "flant5-demo", "checkpoint": f"{done.model}:ckpt-step-4"}

    def late(*args: Any, **kwargs: Any) -> str:
        delete()
        return submit(*args, **kwargs)

    monkeypatch.setattr(JobStore, "submit", late)
    monkeypatch.setattr(
        "api.services.jobs.refuse_model", lambda *_: None
    )  # those of `done` are empty
    request = {"model": model.get(thing, done.model), "training_file": file_id}
    answer = client.post("/fine_tuning/jobs", json=request)
    error = answer.json()["error"]
    param = "training_file" if thing == "file" else "model"
    assert (answer.status_code, error["param"]) == (400, param)
    assert f"{param}: no f" in error["message"]
    made = [job for job in store.list(after=None, limit=9).items if job.id != done.job.id]
    assert [job.status for job in made] == ([Status.CANCELLED] if thing == "file" else [])
    assert all(job.id not in JobRecordStore(home).job_ids() for job in made)


def test_a_file_that_a_job_comes_to_need_while_it_is_deleted_stays(
    client: TestClient, store: JobStore, settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"file": ("talks.json", CONVERSATIONS)}
    file_id = client.post("/files", files=files, data={"purpose": "fine-tune"}).json()["id"]
    delete = FileStore.delete

    def late(*args: Any, **kwargs: Any) -> int:
        make_job(store, training_file=file_id)
        return delete(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "delete", late)
        answer = client.delete(f"/files/{file_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "in_use")
    assert client.get(f"/files/{file_id}/content").content == CONVERSATIONS


def test_a_process_of_the_last_attempt_that_lives_makes_a_delete_come_again(
    client: TestClient, app: FastAPI, done: EndedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.services.deletions, "_lock_seconds", 0)
    lock = take_lock(done.files.run_directory.lock, patience_seconds=0)
    answer = client.delete(jobs_url(done.job))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job_busy")
    assert answer.headers["x-should-retry"] == "true"
    assert done.all_is_there()

    os.close(lock)
    assert client.delete(jobs_url(done.job)).status_code == 200


def test_files_that_cant_be_removed_are_no_success(
    client: TestClient, store: JobStore, done: EndedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:

        def refuses(path: Path) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        patched.setattr("worker.jobs.storage.job_files.shutil.rmtree", refuses)
        answer = client.delete(jobs_url(done.job))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (503, "storage_failed")
        assert "not completely deleted: Permission denied" in error["message"]
        assert client.get(jobs_url(done.job)).status_code == 404
        assert client.get(jobs_url(done.job) + "/artifacts/model.safetensors").status_code == 404
    assert store.deleted.unfinished() == (done.job.id,)
    # The request that comes again goes on with it.
    assert client.delete(jobs_url(done.job)).status_code == 200
    assert not done.files.exist
    assert store.deleted.unfinished() == ()


@pytest.mark.parametrize("damage", ["", "{}", '{"id": "ftjob-other"}', "no JSON"])
def test_a_damaged_record_of_the_job_keeps_nothing_from_being_deleted(
    client: TestClient,
    store: JobStore,
    done: EndedJob,
    damage: str,
    settings: ApiSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = done.files.run_directory.job_record
    record.write_text(damage)
    assert client.delete(f"/models/{done.model}").status_code == 200
    assert not done.files.model
    assert store.deleted.unfinished() == ()
    assert str(record) in caplog.text
    assert client.get(jobs_url(done.job)).json()["fine_tuned_model"] is None
    # A deletion that was killed before it had a tombstone.
    store.deleted.delete(store.get(done.job.id))
    Deletions(store, settings.home_directories).finish(done.job.id)
    assert store.deleted.unfinished() == ()
    assert not done.files.run_directory.path.exists()


def test_a_checkpoint_that_cant_be_moved_stays_and_is_not_promised_to_go(
    client: TestClient, settings: ApiSettings, done: EndedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(path))

    for url in (jobs_url(done.job) + "/checkpoints/4", f"/models/{done.model}:ckpt-step-4"):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", refuses)
            answer = client.delete(url)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (503, "storage_failed")
        assert "is not completely deleted: Permission denied; it stays unless" in error["message"]
        assert "send it again" in error["message"]
        assert done.files.checkpoint(4).is_dir()
        assert client.delete(url).status_code == 200
        add_files(done.job, settings.home_directories)


def test_the_sdk_deletes_a_model_without_any_change(sdk: OpenAI, done: EndedJob) -> None:
    deleted = sdk.models.delete(done.model)
    assert (deleted.id, deleted.deleted, deleted.object) == (done.model, True, "model")
    with pytest.raises(NotFoundError):
        sdk.models.delete(done.model)
    with pytest.raises(NotFoundError):
        sdk.models.retrieve(done.model)
