"""Every error has one shape, a request id, and says whether another try makes sense."""

import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from api.app import create_app
from api.cli.stack.redis import EmbeddedRedis
from api.settings import ApiSettings
from tests.api.scenes import make_job
from worker.jobs.store import keys
from worker.jobs.store.store import JobStore


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/../nothing", 404, "not_found"),
        ("PUT", "/files", 405, "method_not_allowed"),
        ("GET", "/models/none", 404, "not_found"),
        ("DELETE", "/models/flant5-demo", 400, "invalid_value"),
    ],
)
def test_errors_of_the_framework_have_our_shape_too(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-request-id"].startswith("req_")


def test_every_answer_carries_a_request_id_and_a_callers_own_is_kept(client: TestClient) -> None:
    first, second = client.get("/models"), client.get("/models")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    named = client.get("/models", headers={"x-request-id": "trace-7"})
    assert named.headers["x-request-id"] == "trace-7"
    forged = client.get("/models", headers={"x-request-id": "a b\x01"})
    assert forged.headers["x-request-id"].startswith("req_")


def test_a_failure_of_our_own_says_nothing_about_the_inside_but_the_log_does(
    app: FastAPI, client: TestClient, store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(store)
    app.state.services.redis.hset(f"flant5:job:{job.id}", "spec", "{secret")
    with caplog.at_level(logging.ERROR):
        response = client.get(f"/fine_tuning/jobs/{job.id}")
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in caplog.text
    assert "Traceback" in caplog.text


def test_a_job_can_be_read_again_after_redis_was_away(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("own-redis")
    with EmbeddedRedis(directory) as server:
        settings = ApiSettings(home=directory, redis_url=server.url)
        with TestClient(create_app(settings)) as client:
            job = make_job(JobStore(create_app(settings).state.services.redis))
            assert client.get("/readyz").json()["status"] == "ok"
            server.stop()

            response = client.get(f"/v1/fine_tuning/jobs/{job.id}")
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "store_unavailable"
            assert response.headers["x-should-retry"] == "true"
            assert int(response.headers["retry-after"]) > 0
            ready = client.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["error"]["message"].startswith("Redis is not available or rejects")
            assert client.get("/healthz").status_code == 200

            server.start()
            assert client.get("/readyz").status_code == 200
            assert client.get(f"/v1/fine_tuning/jobs/{job.id}").json()["id"] == job.id


def test_readiness_names_no_service_address_or_path(
    app: FastAPI, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    services = app.state.services
    services.redis.set(keys.SERVICE, "service-of-another")
    ready = client.get("http://testserver/readyz")
    assert ready.status_code == 503
    message = ready.json()["error"]["message"]
    assert message == "HOME and Redis belong to different services; see the API log for details"
    assert "service-of-another" in caplog.text


def test_a_server_that_never_found_redis_answers_too(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = ApiSettings(
        home=tmp_path_factory.mktemp("home"),
        redis_url=SecretStr("redis://127.0.0.1:1/0"),
    )
    with TestClient(create_app(settings)) as client:
        assert client.get("/v1/fine_tuning/jobs").status_code == 503


def test_the_description_of_the_api_names_our_error_and_not_fastapis(client: TestClient) -> None:
    description = client.get("http://testserver/openapi.json").json()
    assert "HTTPValidationError" not in str(description)
    schemas = description["components"]["schemas"]
    assert "ErrorResponse" in schemas
    for path, operations in description["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["tags"], path
            assert operation["description"], path
            shape = operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert shape["$ref"].endswith("/ErrorResponse"), path
    learning_rate = schemas["RequestedHyperparameters"]["properties"]["learning_rate"]
    assert learning_rate["description"].startswith("Peak learning rate. Null chooses automatically")
    assert client.get("http://testserver/docs").status_code == 200
