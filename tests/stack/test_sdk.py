"""The unmodified `openai` SDK against the whole service with the real trainer."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from flant5_train.protocol.progress import DataRead
from tests.stack.service import EXAMPLES, Service

pytestmark = pytest.mark.stack

TALK = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes."}]}
LONG = b'[{"conversations": [{"from": "human", "value": "' + b"x" * 50_000_000 + b'"}]}]'
BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "cut off": (json.dumps([TALK, TALK]).encode()[:-20], "record 2 (line 1): the file ends"),
    "latin-1": ('[{"x": "café"}]'.encode("latin-1"), "line 1: byte 0xe9 at offset 11"),
    "unknown role": (
        json.dumps([TALK, {"conversations": [{"from": "alien", "value": "x"}]}]).encode(),
        "record 2 (line 1): field 'conversations[0].from': found 'alien'",
    ),
    "no pairs": (
        b'[{"conversations": [{"from": "human", "value": "x"}]}]',
        "no pair of a question",
    ),
    "50 MB record": (LONG, "record 1 (line 1): the record is longer than 16 MiB"),
}


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=service.url, api_key="none") as client:
        yield client


def method(**hyperparameters: object) -> Any:
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_fails_the_job_with_the_place_and_the_reason(
    service: Service, client: openai.OpenAI, name: str
) -> None:
    content, reason = BAD_FILES[name]
    file = client.files.create(file=("talks.json", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="flant5-demo", training_file=file.id)
    assert service.ended(job.id)["status"] == "failed"
    error = client.fine_tuning.jobs.retrieve(job.id).error
    assert error is not None
    assert error.code == "bad_data"
    assert error.param == "training_file"
    assert reason in error.message


def test_the_sdk_drives_a_job_from_file_to_model(service: Service, client: openai.OpenAI) -> None:
    upload = client.uploads.upload_file_chunked(
        file=EXAMPLES, mime_type="application/json", purpose="fine-tune", part_size=100_000
    )
    file = upload.file
    assert file is not None
    job = client.fine_tuning.jobs.create(
        model="flant5-demo",
        training_file=file.id,
        suffix="sdk",
        method=method(max_steps=3, model_max_length=64, save_steps=2),
    )
    assert service.ended(job.id)["status"] == "succeeded"
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert done.fine_tuned_model is not None
    assert client.models.retrieve(done.fine_tuned_model).id == done.fine_tuned_model
    assert job.id in [listed.id for listed in client.fine_tuning.jobs.list()]
    messages = [event.message for event in client.fine_tuning.jobs.list_events(job.id)]
    assert any("training loss=" in message for message in messages)
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert [checkpoint.step_number for checkpoint in checkpoints] == [3, 2]
    (result_file,) = done.result_files
    rows = client.files.content(result_file).text.splitlines()
    assert [row.partition(",")[0] for row in rows] == ["step", "1", "2", "3"]
    query = {"model": done.fine_tuned_model, "model_max_length": 64, "wait_seconds": 30}
    report: Any = client.get(f"/files/{file.id}/report", cast_to=object, options={"params": query})
    assert (report["tokens"]["counted"], report["is_trainable"]) == ("exact", True)
    (of_run,) = [each.report for each in service.records(job.id) if isinstance(each, DataRead)]
    assert report["tokens"]["source_tokens"] == of_run["source_tokens"]
    assert report["cut"]["truncated_targets"] == of_run["truncated_targets"]


def test_a_wrong_hyperparameter_is_named(client: openai.OpenAI) -> None:
    file = client.files.create(file=("a.json", json.dumps([TALK]).encode()), purpose="fine-tune")
    with pytest.raises(openai.BadRequestError, match="learning_rat: unknown field"):
        client.fine_tuning.jobs.create(
            model="flant5-demo", training_file=file.id, method=method(learning_rat=1)
        )
