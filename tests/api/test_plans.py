"""Plans of jobs over REST: what a create would make, and nothing made."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr
from redis import Redis

from api.app import create_app
from api.services.reports import ReportPrograms
from api.settings import ApiSettings
from tests.api.plan_scenes import EXAMPLES, REQUEST, make_model, plan, planned
from tests.api.scenes import wait_until
from tests.api.test_create import in_method
from tests.api.test_files import upload
from tests.api.test_owners import http, keyed, of, upload_file
from tests.api.test_reports import HANGS, runs
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.redis import Scripts
from worker.jobs.store.workers import WorkerRegistry, WorkerState

__all__ = ["http", "keyed"]

GIB = 2**30


def appear(redis: Redis, name: str, num_slots: int, gpu_gib: int | None) -> None:
    devices = tuple(f"GPU-{name}-{number}" for number in range(num_slots))
    gpu_bytes = None if gpu_gib is None else gpu_gib * GIB
    state = WorkerState(name=name, devices=devices, gpu_bytes=gpu_bytes)
    WorkerRegistry(Scripts(redis, QueuePolicy())).register(state, seconds=600)


def test_a_plan_says_what_the_job_would_be_and_makes_nothing(
    client: TestClient, settings: ApiSettings
) -> None:
    make_model(settings)
    file_id = upload(client, EXAMPLES)["id"]
    hyperparameters = {"n_epochs": 2, "model_max_length": 128, "validation_split": 0.1}
    told = planned(
        client, model="small", training_file=file_id, method=in_method(**hyperparameters)
    )
    assert (told["object"], told["status"]) == ("fine_tuning.job.plan", "completed")
    assert told["spec"]["seed"] == 42
    assert told["spec"]["hyperparameters"]["num_train_epochs"] == 2.0
    assert told["spec"]["hyperparameters"]["batching"] == "packed"
    assert told["data"]["counted"] == "exact"
    data, batches = told["data"]["training"], told["batches"]
    assert data["pairs"] + told["data"]["validation"]["pairs"] == 746
    assert batches["num_steps"] == 2 * batches["steps_per_epoch"]
    assert batches["source_tokens"] == 2 * data["source_tokens"]
    assert 0.8 < batches["source_fill"] <= 1
    assert told["model"]["sizes_from"] == "its config.json"
    assert told["memory"]["fits"] is None
    assert "gpu_memory_gib" in told["memory"]["reason"]
    assert told["disk"]["fits"] is True
    assert told["time"]["seconds"] is None
    assert "no comparable job on small was" in told["time"]["reason"]
    assert client.get("/fine_tuning/jobs").json()["data"] == []
    assert not (settings.home / "jobs").exists()
    assert [file["id"] for file in client.get("/files").json()["data"]] == [file_id]


BAD_BODIES: list[Any] = [
    5,
    {},
    REQUEST | {"model": "none"},
    REQUEST | {"training_file": "../etc/passwd"},
    REQUEST | {"training_file": "file-00000000000000000000000000"},
    REQUEST | {"validation_file": "none.json"},
    REQUEST | {"hyperparameters": {"learning_rat": 1}},
    REQUEST | {"hyperparameters": {"max_steps": 0}},
    REQUEST | {"hyperparameters": {"batch_size": 7, "gradient_accumulation_steps": 2}},
    REQUEST | {"hyperparameters": {"load_best_model_at_end": True}},
    REQUEST | {"integrations": [{"type": "wandb"}]},
    REQUEST | {"suffix": "a b"},
    REQUEST | {"seed": -1},
    REQUEST | {"gpu_memory_gib": 80},
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=json.dumps)
def test_a_plan_is_refused_as_a_create_is(client: TestClient, body: Any) -> None:
    create = client.post("/fine_tuning/jobs", json=body)
    refused = client.post("/fine_tuning/jobs/plan", json=body)
    assert create.status_code == 400
    assert (refused.status_code, refused.json()) == (400, create.json())
    assert refused.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"gpu_memory_gib": 0}, "gpu_memory_gib"),
        ({"gpu_memory_gib": "inf"}, "gpu_memory_gib"),
        ({"gpu_memory_gib": "large"}, "gpu_memory_gib"),
        ({"wait_seconds": 31}, "wait_seconds"),
        ({"gpu": 80}, "gpu"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_the_field(
    client: TestClient, query: dict[str, str], param: str
) -> None:
    response = client.post("/fine_tuning/jobs/plan", json=REQUEST, params=query)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param


def test_others_files_and_models_can_be_planned_as_little_as_used(http: TestClient) -> None:
    file_id = upload_file(http, "alice").json()["id"]
    body = {"model": "flant5-demo", "training_file": file_id}
    for name, status in (("alice", 200), ("bob", 400), ("ops", 200), ("looker", 403)):
        answer = http.post("/v1/fine_tuning/jobs/plan", json=body, headers=of(name))
        assert answer.status_code == status, answer.text
    assert "no file" in http.post("/v1/fine_tuning/jobs/plan", json=body, headers=of("bob")).text


def test_the_second_plan_for_a_file_does_not_read_it_again(
    client: TestClient, settings: ApiSettings
) -> None:
    first = planned(client)
    (kept,) = (settings.home / "cache").glob("survey-*")
    (kept / "report.json").write_text(
        (kept / "report.json").read_text().replace('"num_repeats":0', '"num_repeats":7')
    )
    second = planned(client, hyperparameters={"max_steps": 3})
    assert first["data"]["training"]["repeats"] == 0
    assert second["data"]["training"]["repeats"] == 7
    assert second["batches"]["num_steps"] == 3


def test_a_plan_that_takes_long_is_asked_for_again(client: TestClient) -> None:
    first = plan(client, wait_seconds=0)
    assert first.status_code == 202
    assert first.json() == {"object": "fine_tuning.job.plan", "status": "in_progress"}
    assert int(first.headers["retry-after"]) > 0
    answers: list[Any] = []

    def is_there() -> bool:
        answers.append(plan(client, wait_seconds=0))
        return bool(answers[-1].status_code != 202)

    wait_until(is_there, what="the plan", timeout_seconds=60)
    assert answers[-1].json()["status"] == "completed"


def test_no_more_than_a_few_programs_run_at_a_time_and_they_end_with_the_server(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.services.planning.plan_argv", runs(HANGS))
    monkeypatch.setattr("api.services.reports.report_argv", runs(HANGS))
    with TestClient(app, base_url="http://testserver/v1") as client:
        file_id = upload(client)["id"]
        params = {"wait_seconds": 0}
        assert client.get(f"/files/{file_id}/report", params=params).status_code == 202
        assert plan(client, wait_seconds=0).status_code == 202
        assert plan(client, wait_seconds=0).status_code == 202
        third = plan(client, wait_seconds=0, seed=7)
        assert (third.status_code, third.json()["error"]["code"]) == (503, "too_many_reports")


def test_a_program_that_ends_badly_is_our_fault(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("api.services.planning.plan_argv", runs("raise SystemExit('no memory')"))
        assert plan(client).status_code == 500
    assert planned(client)["data"]["training"]["pairs"] == 1


def test_a_file_that_can_not_be_read_is_the_callers(
    client: TestClient, settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ReportPrograms.run

    def loses_the_file(programs: ReportPrograms, *args: Any, **kwargs: Any) -> Any:
        assert settings.data_root is not None
        (settings.data_root / "chats.json").unlink()
        return asked(programs, *args, **kwargs)

    monkeypatch.setattr(ReportPrograms, "run", loses_the_file)
    answer = plan(client)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("chats.json: can't be read: ")


def test_without_redis_there_is_no_plan(settings: ApiSettings) -> None:
    away = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with TestClient(create_app(away), base_url="http://testserver/v1") as client:
        assert plan(client).json()["error"]["code"] == "store_unavailable"


def test_the_document_of_the_api_describes_a_plan(client: TestClient) -> None:
    document = client.get("http://testserver/openapi.json").json()
    described = document["paths"]["/v1/fine_tuning/jobs/plan"]["post"]
    assert {"200", "202", "default"} <= set(described["responses"])
    fields = document["components"]["schemas"]["JobPlan"]["properties"]
    assert {"spec", "data", "batches", "memory", "disk", "time", "warnings"} <= set(fields)
