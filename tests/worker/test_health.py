import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from api.health import api_trouble
from tests.worker.scenes import claimed_job
from worker import health
from worker.controller.health import controller_trouble
from worker.daemon import DaemonPresence
from worker.health import worker_trouble
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.redis import Scripts
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState
from worker.settings import WorkerSettings


@pytest.fixture
def settings(redis_url: SecretStr, tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(home=tmp_path, redis_url=redis_url, worker_name="w", slots="cpu-0")


@pytest.fixture
def here(redis: Redis) -> None:
    WorkerRegistry(Scripts(redis, QueuePolicy())).register(
        WorkerState(name="w", devices=("cpu-0",)), seconds=60
    )


@pytest.mark.usefixtures("here")
def test_an_idle_worker_whose_slots_work_is_healthy(settings: WorkerSettings) -> None:
    assert worker_trouble(settings) is None


def test_a_worker_without_a_sign_of_life_is_not(settings: WorkerSettings) -> None:
    assert "has sent no heartbeat" in str(worker_trouble(settings))


@pytest.mark.usefixtures("here")
def test_an_idle_worker_whose_slots_fail_is_not(settings: WorkerSettings) -> None:
    trouble = worker_trouble(
        settings.model_copy(update={"probe_command": "sh -c 'echo no such GPU >&2; exit 1'"})
    )
    assert trouble == "no such GPU"


@pytest.mark.usefixtures("here")
def test_a_busy_worker_is_not_disturbed_by_a_test_of_its_slots(
    settings: WorkerSettings, store: JobStore
) -> None:
    claimed_job(store, worker="w")
    assert worker_trouble(settings.model_copy(update={"probe_command": "false"})) is None


@pytest.mark.usefixtures("here")
def test_an_idle_worker_that_takes_no_doorbell_is_not(
    settings: WorkerSettings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.3)
    redis.lpush(keys.NOTIFICATIONS, "a message")
    assert "has consumed no wake-up" in str(worker_trouble(settings))


def test_a_controller_is_healthy_after_a_round(settings: WorkerSettings, redis: Redis) -> None:
    assert "no controller" in str(controller_trouble(settings))
    DaemonPresence(redis).register()
    assert controller_trouble(settings) is None


class _Refuses(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        error = {"message": "Redis is not available"} if self.path == "/readyz" else None
        self.wfile.write(json.dumps({"error": error}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Not to standard error."""


@pytest.fixture
def refusing_port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Refuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_an_api_that_is_not_ready_is_not_healthy_and_says_why(refusing_port: int) -> None:
    assert api_trouble(refusing_port) == "Redis is not available"


def test_an_api_that_is_not_there_is_not_healthy() -> None:
    assert "no response on port 1" in str(api_trouble(1))
