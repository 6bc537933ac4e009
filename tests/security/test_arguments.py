"""What callers write never becomes an option of a program, or a line of what Redis is told."""

import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.schemas.plans import ReportQuery
from api.services.reports import report_argv
from api.settings import ApiSettings
from flant5_train.config import Hyperparameters
from worker.controller.validation import check_argv
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.storage.files import FileStore
from worker.jobs.store.models import ModelCatalog
from worker.jobs.store.store import JobStore
from worker.processes.trainer_process import NodeSpec, torchrun_argv

OPTIONS = (
    "--help",
    "-m",
    "-c import os",
    "--model=/etc",
    "--output_dir=/",
    "--",
    "--nproc-per-node=64",
    "-",
    "@/etc/passwd",
)


def test_the_trainer_is_told_one_word_and_it_is_a_path_of_ours() -> None:
    path = Path("/home/jobs/ftjob-1/run.json")
    argv = torchrun_argv(path, NodeSpec(num_processes=2), 10.0)
    assert argv[0] == sys.executable
    assert argv[-3:] == ["-m", "flant5_train.train", str(path)]
    assert "--nproc-per-node 2 " in " ".join(argv)


@pytest.mark.parametrize("text", OPTIONS)
def test_a_model_that_looks_like_an_option_names_nothing(
    client: TestClient, settings: ApiSettings, store: JobStore, text: str
) -> None:
    with pytest.raises(NotFoundError):
        ModelCatalog(settings, store).resolve(text)
    spec = {"model": text, "training_file": "chats.json"}
    response = client.post("/fine_tuning/jobs", json=spec)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("text", OPTIONS)
def test_a_file_that_looks_like_an_option_is_a_path_behind_the_data_root(
    settings: ApiSettings, text: str
) -> None:
    root = settings.data_root
    assert root is not None
    files = FileStore(settings.home_directories, root)
    with pytest.raises((NotFoundError, InvalidRequestError)):
        files.resolve(text)
    if "/" not in text:
        (root / text).write_text("[]")
        argv = check_argv(files.resolve(text), Hyperparameters())
        place = str(root.resolve() / text)
        options = ["--on-bad-record", "fail", "--on-missing-question", "train"]
        assert argv[1:] == ["-m", "flant5_train.check", place, *options]


@pytest.mark.parametrize("text", OPTIONS)
def test_a_report_takes_no_options_from_a_caller(client: TestClient, text: str) -> None:
    file_id = client.post(
        "/files", data={"purpose": "fine-tune"}, files={"file": (text, b"[]")}
    ).json()["id"]
    for name in ("model", "tokenization", "on_bad_record", "model_max_length", text):
        assert client.get(f"/files/{file_id}/report", params={name: text}).status_code == 400
    argv = report_argv(Path("/home/files/content"), ReportQuery(), model="/models/-x")
    assert [word for word in argv[3:-2] if not word.startswith("--")] == []
    assert argv[-2:] == ["--", "/home/files/content"]
    assert "--model=/models/-x" in argv


def test_a_value_with_line_ends_stays_one_value_in_redis(
    client: TestClient, store: JobStore
) -> None:
    hostile = "x\r\n*1\r\n$8\r\nFLUSHALL\r\n"
    spec = {
        "model": "flant5-demo",
        "training_file": "chats.json",
        "metadata": {hostile: hostile, "*": "?"},
    }
    job = client.post("/fine_tuning/jobs", json=spec).json()
    assert job["metadata"] == spec["metadata"]
    assert store.get(job["id"]).spec.metadata == spec["metadata"]
    found = client.get("/fine_tuning/jobs", params={f"metadata[{hostile}]": hostile}).json()
    assert [each["id"] for each in found["data"]] == [job["id"]]
    other = {f"metadata[{hostile}]": "x"}
    assert client.get("/fine_tuning/jobs", params=other).json()["data"] == []
    for pattern in ("*", "ftjob-*", "[a-z]*", "flant5:jobs"):
        assert client.get(f"/fine_tuning/jobs/{pattern}").status_code == 404
