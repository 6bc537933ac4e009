"""What a plan says of memory and time, and what it finds wrong or odd with a job."""

import json
import shutil
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from api.settings import ApiSettings
from tests.api.plan_scenes import EXAMPLES, make_model, measured_job, plan, planned
from tests.api.test_files import upload
from worker.jobs.job import model_id
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.redis import Scripts
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState

GIB = 2**30


def appear(redis: Redis, name: str, num_slots: int, gpu_gib: int | None) -> None:
    devices = tuple(f"GPU-{name}-{number}" for number in range(num_slots))
    gpu_bytes = None if gpu_gib is None else gpu_gib * GIB
    state = WorkerState(name=name, devices=devices, gpu_bytes=gpu_bytes)
    WorkerRegistry(Scripts(redis, QueuePolicy())).register(state, seconds=600)


def test_memory_is_that_of_the_gpus_the_workers_have(client: TestClient, redis: Redis) -> None:
    xl = {"model": "google/flan-t5-xl", "hyperparameters": {"bf16": True}}
    appear(redis, "cpu-box", 2, None)
    assert planned(client, **xl)["memory"]["fits"] is None
    appear(redis, "gpu-0", 1, 24)
    appear(redis, "gpu-1", 2, 80)
    memory = planned(client, **xl)["memory"]
    assert (memory["gpu_from"], memory["gpu_bytes"], memory["fits"]) == ("gpu-1", 80 * GIB, True)
    both = {"bf16": True, "num_nodes": 2}
    memory = planned(client, model="google/flan-t5-xl", hyperparameters=both)["memory"]
    assert (memory["gpu_from"], memory["fits"]) == ("gpu-0", False)
    stated = plan(client, **xl, gpu_memory_gib=24.5).json()
    assert (stated["memory"]["gpu_from"], stated["memory"]["gpu_bytes"]) == ("stated", 24.5 * GIB)
    (warning,) = (each for each in stated["warnings"] if each["code"] == "memory")
    assert warning["level"] == "warning"
    assert "(conservative estimate)" in warning["message"]
    assert "it may not fit; set " in warning["message"]


def test_time_is_what_like_jobs_were_measured_at(
    client: TestClient, settings: ApiSettings, store: JobStore
) -> None:
    make_model(settings)
    body = {"model": "small", "hyperparameters": {"max_steps": 40, "model_max_length": 64}}
    measured_job(store, settings, tokens_per_second=500.0, model="small", num_gpus=2)
    measured_job(store, settings, tokens_per_second=500.0, model="other")
    measured_job(store, settings, tokens_per_second=500.0, model="small", num_steps=2)
    assert planned(client, **body)["time"]["num_measured_jobs"] == 0
    for rate in (100.0, 300.0, 200.0):
        measured_job(store, settings, tokens_per_second=rate, model="small")
    told = planned(client, **body)
    time = told["time"]
    assert time["num_measured_jobs"] == 3
    assert time["tokens_per_second"] == pytest.approx(200)
    assert time["tflops"] == pytest.approx(200e-6)
    assert time["steps_seconds"] == pytest.approx(told["model"]["flops"] / 200e6)
    assert time["seconds"] == time["steps_seconds"] + time["other_seconds"]
    assert time["reason"] is None
    short = planned(client, **body, max_run_seconds=1)
    (warning,) = (each for each in short["warnings"] if each["code"] == "timeout")
    assert warning["param"] == "max_run_seconds"


def test_a_fine_tuned_model_is_as_fast_as_the_one_it_was_made_of(
    client: TestClient, settings: ApiSettings, store: JobStore
) -> None:
    directory = make_model(settings)
    job = measured_job(store, settings, tokens_per_second=100.0, model="small")
    output = settings.home_directories.run_directory(job.id).output
    output.mkdir()
    for file in directory.iterdir():
        shutil.copy(file, output)
    told = planned(client, model=model_id(job.id, job.spec))
    assert told["model"]["sizes_from"] == "its config.json"
    assert told["time"]["num_measured_jobs"] == 1


def test_bad_data_is_an_error_of_the_plan_with_its_place(client: TestClient) -> None:
    bad = EXAMPLES.replace(b'"from": "gpt"', b'"from": "alien"', 1)
    told = planned(client, training_file=upload(client, bad)["id"])
    assert told["is_feasible"] is False
    assert told["batches"] is None
    first = told["warnings"][0]
    assert (first["level"], first["code"], first["param"]) == ("error", "bad_data", "training_file")
    assert "record 1 (line 2), conversations[1].from: found 'alien'" in first["message"]


def test_a_full_disk_is_an_error_of_the_plan(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, code in ((10**6, "disk_full"), (95 * 10**6, "disk_tight")):
        monkeypatch.setattr("api.services.planning.free_bytes", lambda _, free=free: free)
        told = planned(client, hyperparameters={"max_steps": 1000})
        assert told["disk"]["fits"] is False
        assert told["is_feasible"] is (code == "disk_tight")
        assert code in [each["code"] for each in told["warnings"]]


@pytest.mark.parametrize(
    ("hyperparameters", "code", "param"),
    [
        ({"max_target_length": 8}, "answers_cut", "max_target_length"),
        ({"model_max_length": 32}, "answers_cut", "model_max_length"),
        ({"max_source_length": 64}, "questions_cut", "max_source_length"),
        ({"learning_rate": 0.5}, "learning_rate", "learning_rate"),
        ({"learning_rate": 1e-9}, "learning_rate", "learning_rate"),
        ({"num_gpus": 3}, "no_worker", "num_gpus"),
        ({"num_nodes": 3}, "no_worker", "num_nodes"),
        ({"max_steps": 2}, "few_steps", None),
    ],
)
def test_what_is_odd_is_warned_of(
    client: TestClient, redis: Redis, hyperparameters: dict[str, Any], code: str, param: str | None
) -> None:
    appear(redis, "gpu-0", 2, None)
    file_id = upload(client, EXAMPLES)["id"]
    told = planned(client, training_file=file_id, hyperparameters=hyperparameters)
    (found,) = (each for each in told["warnings"] if each["code"] == code)
    assert found["param"] == (None if param is None else f"hyperparameters.{param}")
    assert found["level"] == "warning"
    assert told["is_feasible"] is True


def test_a_sound_plan_has_nothing_to_warn_of(client: TestClient, redis: Redis) -> None:
    appear(redis, "gpu-0", 1, 80)
    file_id = upload(client, EXAMPLES)["id"]
    told = planned(client, training_file=file_id, hyperparameters={"validation_split": 0.1})
    assert told["warnings"] == []
    twice = planned(client, training_file=upload(client, doubled(EXAMPLES))["id"])
    assert [each["code"] for each in twice["warnings"]] == ["repeats", "no_validation"]


def doubled(content: bytes) -> bytes:
    return json.dumps(2 * json.loads(content)).encode()
