"""The unmodified `openai` SDK against a real server."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from openai import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    DefaultHttpxClient,
    NotFoundError,
    OpenAI,
    RateLimitError,
)

from api.app import create_app
from api.auth import hash_of
from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS
from tests.api.sdk_jobs import create, status_of
from worker.jobs.job import JobProgressState
from worker.jobs.storage.run_files import keep_result_file
from worker.jobs.store.serialization import (
    Claim,
    HeartbeatDirective,
    NewCheckpoint,
    NewEvent,
    Succeeded,
    Update,
)
from worker.jobs.store.store import JobStore


def test_files_go_up_come_back_and_go_away(sdk: OpenAI) -> None:
    uploads = [
        sdk.files.create(file=(f"{number}.jsonl", CONVERSATIONS), purpose="fine-tune")
        for number in range(3)
    ]
    assert sdk.files.wait_for_processing(uploads[0].id).status == "processed"
    assert sdk.files.retrieve(uploads[0].id) == uploads[0]
    assert sdk.files.content(uploads[0].id).read() == CONVERSATIONS
    listed = [file.id for file in sdk.files.list(limit=1)]
    assert listed == [upload.id for upload in reversed(uploads)]
    assert sdk.files.delete(uploads[0].id).deleted is True
    with pytest.raises(NotFoundError):
        sdk.files.retrieve(uploads[0].id)


def test_a_job_from_submission_to_its_model(
    sdk: OpenAI, store: JobStore, settings: ApiSettings
) -> None:
    file = sdk.files.create(file=("chats.json", CONVERSATIONS), purpose="fine-tune")
    job = sdk.fine_tuning.jobs.create(
        model="flant5-demo",
        training_file=file.id,
        suffix="math",
        metadata={"team": "a/b c"},
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}},
        },
    )
    assert job.status == "validating_files"
    assert job.hyperparameters.n_epochs == 2
    assert job.hyperparameters.batch_size == 4
    assert [each.id for each in sdk.fine_tuning.jobs.list(metadata={"team": "a/b c"})] == [job.id]

    claim = run(store, job.id)
    model = f"ft:flant5-demo:flant5:math:{job.id[-8:]}"
    store.leases.finish(claim, Succeeded(model))
    output = settings.home_directories.run_directory(job.id).output
    output.mkdir(parents=True)
    (output / "config.json").write_text("{}")

    done = sdk.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.fine_tuned_model, done.trained_tokens) == ("succeeded", model, 99)
    events = list(sdk.fine_tuning.jobs.list_events(job.id, limit=2))
    assert events[0].message == f"Job succeeded; the model is {model}"
    assert len({event.id for event in events}) == len(events) == 6
    checkpoints = list(sdk.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    assert [checkpoint.step_number for checkpoint in checkpoints] == [10, 5]
    assert checkpoints[0].metrics.train_loss == 2.5
    assert sdk.models.retrieve(model).id == model
    assert model in [each.id for each in sdk.models.list()]
    assert sdk.models.delete(model).deleted is True
    with pytest.raises(NotFoundError):
        sdk.models.retrieve(model)


def run(store: JobStore, job_id: str) -> Claim:
    """Plays a worker up to the job's last step."""
    store.accept(job_id)
    claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=600)
    assert claim is not None
    assert claim.job.id == job_id
    update = Update(
        events=(NewEvent("Step 10/10: training loss=2.50", type="metrics", data={"step": 10}),),
        checkpoints=(
            NewCheckpoint(step=5, path="output/checkpoint-5", metrics={"loss": 3.0}),
            NewCheckpoint(step=10, path="output/checkpoint-10", metrics={"loss": 2.5}),
        ),
        progress=JobProgressState(step=10, max_steps=10, percent=100.0),
        trained_tokens=99,
    )
    assert store.leases.record(claim, update)
    store.leases.record(claim, Update(events=(NewEvent("Saved"),)))
    return claim


def test_the_numbers_of_a_job_can_be_downloaded_when_it_has_succeeded(
    sdk: OpenAI, store: JobStore, settings: ApiSettings
) -> None:
    job_id = create(sdk)
    claim = run(store, job_id)
    keep_result_file(claim.job, settings.home_directories)
    assert sdk.fine_tuning.jobs.retrieve(job_id).result_files == []
    store.leases.finish(claim, Succeeded(f"ft:flant5-demo:flant5::{job_id[-8:]}"))
    (file_id,) = sdk.fine_tuning.jobs.retrieve(job_id).result_files
    assert sdk.files.content(file_id).text.startswith("step,epoch,train_loss,")
    file = sdk.files.retrieve(file_id)
    assert (file.purpose, file.filename) == ("fine-tune-results", "step_metrics.csv")
    assert [each.id for each in sdk.files.list(purpose="fine-tune-results")] == [file_id]
    sdk.files.delete(file_id)
    assert sdk.fine_tuning.jobs.retrieve(job_id).result_files == []


def test_models_whose_ids_hold_slashes_can_be_retrieved(sdk: OpenAI, server_url: str) -> None:
    assert sdk.models.retrieve("google/flan-t5-small").owned_by == "google"
    raw = httpx.get(f"{server_url}/models/google/flan-t5-small")
    assert raw.json()["id"] == "google/flan-t5-small"
    with pytest.raises(NotFoundError, match="unknown model 'meta/llama'"):
        sdk.models.retrieve("meta/llama")


def test_all_pages_of_jobs_are_walked_and_the_walk_ends(sdk: OpenAI) -> None:
    ids = [create(sdk, seed=number) for number in range(5)]
    assert [job.id for job in sdk.fine_tuning.jobs.list(limit=2)] == ids[::-1]


def test_a_job_is_cancelled(sdk: OpenAI) -> None:
    job_id = create(sdk)
    assert sdk.fine_tuning.jobs.cancel(job_id).status == "cancelled"
    with pytest.raises(BadRequestError, match="already cancelled"):
        sdk.fine_tuning.jobs.cancel(job_id)


def test_a_job_is_paused_and_resumed(sdk: OpenAI, store: JobStore) -> None:
    jobs = sdk.fine_tuning.jobs
    job_id = create(sdk)
    assert status_of(jobs.pause(job_id)) == "paused"
    assert status_of(jobs.retrieve(job_id)) == "paused"
    assert status_of(jobs.resume(job_id)) == "validating_files"
    store.accept(job_id)
    assert status_of(jobs.pause(job_id)) == "paused"
    assert status_of(jobs.resume(job_id)) == "queued"
    claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=600)
    assert claim is not None
    assert status_of(jobs.pause(job_id)) == "running"
    assert store.leases.heartbeat(claim, 600) is HeartbeatDirective.PAUSE
    store.leases.release(claim, reason="paused")
    assert status_of(jobs.retrieve(job_id)) == "paused"
    assert status_of(jobs.cancel(job_id)) == "cancelled"
    assert status_of(jobs.resume(job_id)) == "queued"
    with pytest.raises(BadRequestError, match="can be resumed"):
        jobs.resume(job_id)
    with pytest.raises(NotFoundError):
        jobs.pause("ftjob-none")


def test_fields_beyond_the_sdk_go_out_and_come_back(sdk: OpenAI) -> None:
    job = sdk.fine_tuning.jobs.create(
        model="flant5-demo",
        training_file="chats.json",
        extra_body={"priority": 5, "max_run_seconds": 60},
    )
    again = sdk.fine_tuning.jobs.retrieve(job.id).to_dict()
    assert (again["priority"], again["max_run_seconds"]) == (5, 60)
    with pytest.raises(BadRequestError, match="priority"):
        sdk.fine_tuning.jobs.create(
            model="flant5-demo", training_file="chats.json", extra_body={"priority": 500}
        )


def test_an_owner_at_its_limit_is_refused_once_and_not_tried_again(
    settings: ApiSettings, serve: Callable[[FastAPI], str]
) -> None:
    url = serve(create_app(settings.model_copy(update={"max_queued_per_key": 1})))
    sent: list[httpx.Request] = []
    http = DefaultHttpxClient(event_hooks={"request": [sent.append]})
    with OpenAI(base_url=url, api_key="any", http_client=http) as sdk:
        create(sdk)
        with pytest.raises(RateLimitError, match="limit of queued jobs") as caught:
            create(sdk, seed=2)
    assert caught.value.code == "queue_limit"
    assert len(sent) == 2


def test_a_wrong_hyperparameter_is_a_readable_error_that_names_it(sdk: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        sdk.fine_tuning.jobs.create(
            model="flant5-demo",
            training_file="chats.json",
            extra_body={"hyperparameters": {"learning_rat": 1}},
        )
    assert caught.value.param == "hyperparameters.learning_rat"
    assert "did you mean 'learning_rate'?" in str(caught.value)
    assert caught.value.request_id


def test_an_upload_over_the_limit_is_an_answer_and_not_a_broken_connection(
    settings: ApiSettings, serve: Callable[[FastAPI], str]
) -> None:
    app = create_app(settings.model_copy(update={"max_file_bytes": 2**20}))
    with OpenAI(base_url=serve(app), api_key="any", max_retries=0) as sdk:
        for num_bytes in (2**20 + 1, 2**20 + 2**17, 2**25):
            with pytest.raises(APIStatusError, match="larger than") as caught:
                sdk.files.create(file=("big.json", b"x" * num_bytes), purpose="fine-tune")
            assert caught.value.status_code in (400, 413)
        assert list(sdk.files.list()) == []


def test_a_key_is_asked_for_when_keys_are_configured(
    settings: ApiSettings, serve: Callable[[FastAPI], str], tmp_path: Path
) -> None:
    keys_file = tmp_path / "keys"
    keys_file.write_text(f"alice:{hash_of('f5-alice')}\n")
    url = serve(create_app(settings.model_copy(update={"api_keys_file": keys_file})))
    with (
        OpenAI(base_url=url, api_key="wrong") as stranger,
        OpenAI(base_url=url, api_key="f5-alice") as alice,
    ):
        with pytest.raises(AuthenticationError):
            stranger.models.list()
        assert [model.id for model in alice.models.list()] == ["flant5-demo"]
