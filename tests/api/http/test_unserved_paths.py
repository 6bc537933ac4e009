"""Requests of OpenAI clients to routes and addresses that this server does not have."""

from collections.abc import Callable

import openai
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI
from starlette.routing import Match

from api.app import create_app
from api.settings import ApiSettings
from tests.api.scenes import make_job
from worker.jobs.store.store import JobStore


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/responses", "use POST /v1/chat/completions instead"),
        ("GET", "/responses/resp_1", "use POST /v1/chat/completions instead"),
        ("POST", "/completions", "use POST /v1/chat/completions instead"),
        ("POST", "/embeddings", "not embeddings"),
        ("POST", "/batches", "one question per request"),
        ("POST", "/evals", "validation_file"),
        ("POST", "/moderations", "does not moderate content"),
        ("POST", "/images/generations", "text only"),
        ("POST", "/audio/speech", "text only"),
        ("POST", "/threads/runs", "POST /v1/chat/completions"),
        ("POST", "/v1/chat/completions", "/v1 twice"),
        ("GET", "/nothing", "no such path"),
    ],
)
def test_a_route_that_is_not_served_says_where_to_go(
    client: TestClient, method: str, path: str, words: str
) -> None:
    response = client.request(method, path, json={})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "not_found")
    assert error["message"].startswith(f"{method} /v1{path}: no such path")
    assert words in error["message"]


def test_an_sdk_whose_base_url_lacks_v1_is_told_so_by_every_call(
    settings: ApiSettings, serve: Callable[[FastAPI], str]
) -> None:
    url = serve(create_app(settings)).removesuffix("/v1")
    with OpenAI(base_url=url, api_key="any", max_retries=0) as sdk:
        calls: tuple[Callable[[], object], ...] = (
            sdk.models.list,
            sdk.files.list,
            sdk.fine_tuning.jobs.list,
            lambda: sdk.files.create(file=b"{}", purpose="fine-tune"),
            lambda: sdk.chat.completions.create(model="m", messages=[]),
            lambda: sdk.fine_tuning.jobs.create(model="m", training_file="f"),
        )
        for call in calls:
            with pytest.raises(openai.APIStatusError) as caught:
                call()
            assert caught.value.status_code in (404, 405)
            assert "add it to the client's base URL" in str(caught.value)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", Match.FULL),
        ("*/*", Match.FULL),
        ("application/json", Match.NONE),
    ],
)
def test_a_browser_still_gets_pages_at_the_same_addresses(
    app: FastAPI, accept: str, expected: Match
) -> None:
    headers = [(b"accept", accept.encode())]
    for path in ("/files", "/models", "/chat"):
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
        assert app.state.dashboard.matches(scope)[0] is expected


def test_a_paused_job_is_shown_as_queued_to_a_caller_that_asks_for_it(
    client: TestClient, store: JobStore
) -> None:
    job = make_job(store)
    store.pause(job.id)
    path, header = f"/fine_tuning/jobs/{job.id}", {"X-Flant5-Paused-As": "queued"}
    plain = client.get(path).json()
    asked = client.get(path, headers=header).json()
    assert (plain["status"], plain["phase"]) == ("paused", None)
    assert (asked["status"], asked["phase"]) == ("queued", "paused")
    listed = client.get("/fine_tuning/jobs", headers=header).json()["data"]
    assert [each["status"] for each in listed] == ["queued"]
    resumed = client.post(f"{path}/resume", headers=header).json()
    assert (resumed["status"], resumed["phase"]) == ("validating_files", None)
    refused = client.get(path, headers={"X-Flant5-Paused-As": "running"})
    assert refused.status_code == 400
    assert "'queued'" in refused.json()["error"]["message"]
