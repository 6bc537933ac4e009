"""Reports on uploaded files over REST."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI

from api.services.reports import ReportPrograms
from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS, wait_until
from tests.api.test_files import upload

BAD = CONVERSATIONS.replace(b"gpt", b"alien").removesuffix(b"]\n") + b",\n5]\n"
HANGS = "import time; time.sleep(1000)"


def report(client: TestClient, file_id: object, **query: str | int) -> dict[str, Any]:
    """The report, however often it has to be asked for."""
    answers: list[Any] = []

    def is_there() -> bool:
        answers.append(client.get(f"/files/{file_id}/report", params=query))
        return bool(answers[-1].status_code != 202)

    wait_until(is_there, what="the report")
    assert answers[-1].status_code == 200, answers[-1].text
    found: dict[str, Any] = answers[-1].json()
    return found


def runs(program: str) -> Callable[..., list[str]]:
    """Stands in for the command that makes a report."""
    return lambda *_, **__: [sys.executable, "-c", program]


def test_a_report_says_what_a_file_holds(sdk: OpenAI) -> None:
    file = sdk.files.create(file=("talks.json", CONVERSATIONS), purpose="fine-tune")
    found: Any = sdk.get(f"/files/{file.id}/report", cast_to=object)
    assert (found["object"], found["file_id"], found["status"]) == (
        "file.report",
        file.id,
        "completed",
    )
    assert (found["file"], found["bytes"]) == ("talks.json", len(CONVERSATIONS))
    assert (found["is_trainable"], found["conversations"], found["pairs"]) == (True, 1, 1)
    assert found["tokens"]["counted"] == "estimated"
    assert found["problems"]["listed"] == []


def test_a_report_names_every_problem_with_its_place(client: TestClient) -> None:
    file_id = upload(client, BAD)["id"]
    found = report(client, file_id)
    assert found["is_trainable"] is False
    assert found["problems"]["listed"] == [
        {
            "record": 1,
            "line": 1,
            "field": "conversations[1].from",
            "kind": "unknown role",
            "found": "'alien'",
            "expected": "one of system, human, gpt (or user, assistant, developer, chatgpt, bing,"
            " bard)",
            "count": 1,
            "also_at": None,
        },
        {
            "record": 2,
            "line": 2,
            "field": None,
            "kind": "not an object",
            "found": "a number",
            "expected": "an object with 'conversations' or 'messages'",
            "count": 1,
            "also_at": None,
        },
    ]
    assert report(client, file_id, on_bad_record="skip")["on_bad_record"] == "skip"


def test_a_report_is_made_once_for_each_question_and_goes_with_its_file(
    client: TestClient, settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = upload(client)["id"]
    first = report(client, file_id)
    short = report(client, file_id, model_max_length=32)
    assert short["cut"]["truncated_sources"] == 1
    assert len(list((settings.home / "files" / str(file_id)).glob("report-*"))) == 2
    monkeypatch.setattr(ReportPrograms, "run", None)
    assert report(client, file_id, wait_seconds=0) == first
    assert report(client, file_id, model_max_length=32) == short
    client.delete(f"/files/{file_id}")
    assert client.get(f"/files/{file_id}/report").status_code == 404
    assert list((settings.home / "files").iterdir()) == []


def test_a_damaged_report_is_made_anew(client: TestClient, settings: ApiSettings) -> None:
    file_id = upload(client)["id"]
    first = report(client, file_id)
    (kept,) = (settings.home / "files" / str(file_id)).glob("report-*")
    kept.write_text('{"file": 5}')
    assert report(client, file_id) == first


def test_a_report_that_takes_long_is_asked_for_again(client: TestClient) -> None:
    file_id = upload(client)["id"]
    first = client.get(f"/files/{file_id}/report", params={"wait_seconds": 0})
    assert first.status_code == 202
    assert first.json() == {
        "object": "file.report",
        "file_id": file_id,
        "status": "in_progress",
    }
    assert int(first.headers["retry-after"]) > 0
    assert report(client, file_id, wait_seconds=0)["pairs"] == 1


def test_tokens_are_counted_by_a_models_vocabulary(
    client: TestClient, settings: ApiSettings
) -> None:
    from flant5_train.demo_model import train_vocabulary

    model = settings.home / "models" / "small"
    model.mkdir(parents=True)
    words = ("Hi Hello! Bye now then what is this text about " * 20).split()
    (model / "config.json").write_text("{}")
    (model / "spiece.model").write_bytes(train_vocabulary(iter(words), num_pieces=60))
    file_id = upload(client)["id"]
    tokens = report(client, file_id, model="small")["tokens"]
    assert (tokens["counted"], tokens["model"], tokens["note"]) == ("exact", "small", None)
    demo = report(client, file_id, model="flant5-demo")["tokens"]
    assert (demo["counted"], demo["model"]) == ("estimated", "flant5-demo")
    assert "the job's own file" in demo["note"]


@pytest.mark.parametrize(
    ("query", "param", "message"),
    [
        ({"model": "none"}, "model", "unknown model 'none'"),
        ({"model": "../../etc"}, "model", "unknown model"),
        ({"model_max_length": 31}, "model_max_length", "greater than or equal to 32"),
        ({"max_target_length": 7}, "max_target_length", "greater than or equal to 8"),
        ({"tokenization": "none"}, "tokenization", "'lossless'"),
        ({"wait_seconds": 31}, "wait_seconds", "less than or equal to 30"),
        ({"wait_seconds": "nan"}, "wait_seconds", "finite"),
        ({"max_length": 5}, "max_length", "unknown"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_the_field(
    client: TestClient, query: dict[str, str], param: str, message: str
) -> None:
    response = client.get(f"/files/{upload(client)['id']}/report", params=query)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == param
    assert message in error["message"]


def test_no_more_than_a_few_reports_are_made_at_a_time_and_they_end_with_the_server(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.services.reports.report_argv", runs(HANGS))
    with TestClient(app, base_url="http://testserver/v1") as client:
        ids = [upload(client)["id"] for _ in range(3)]
        answers = [
            client.get(f"/files/{file_id}/report", params={"wait_seconds": 0}) for file_id in ids
        ]
        assert [answer.status_code for answer in answers] == [202, 202, 503]
        assert answers[2].json()["error"]["code"] == "too_many_reports"
        assert answers[2].headers["x-should-retry"] == "true"
        assert client.get(f"/files/{ids[0]}/report", params={"wait_seconds": 0}).status_code == 202


def test_a_program_that_ends_badly_is_our_fault_and_the_next_one_may_do_better(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file_id = upload(client)["id"]
    with monkeypatch.context() as patch:
        patch.setattr("api.services.reports.report_argv", runs("raise SystemExit('no memory')"))
        response = client.get(f"/files/{file_id}/report")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert report(client, file_id)["pairs"] == 1


def test_the_document_of_the_api_describes_a_report(client: TestClient) -> None:
    document = client.get("http://testserver/openapi.json").json()
    answers = document["paths"]["/v1/files/{file_id}/report"]["get"]["responses"]
    assert {"200", "202", "default"} <= set(answers)
    query = document["paths"]["/v1/files/{file_id}/report"]["get"]["parameters"]
    described = {each["name"] for each in query if each.get("description")}
    assert {"model", "model_max_length", "on_bad_record", "wait_seconds"} <= described
