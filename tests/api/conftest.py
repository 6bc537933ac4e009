"""Fixtures of the API's tests: the application in this process, and behind a real socket."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI
from pydantic import SecretStr

from api.app import create_app
from api.settings import ApiSettings
from tests.api.full_disks import FullDisks
from tests.api.scenes import CONVERSATIONS, claim_new_job, wait_until
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.store.serialization import Claim
from worker.jobs.store.store import JobStore


@pytest.fixture
def settings(tmp_path: Path, redis_url: SecretStr) -> ApiSettings:
    data_root = tmp_path / "data"
    data_root.mkdir()
    (data_root / "chats.json").write_bytes(CONVERSATIONS)
    (tmp_path / "home").mkdir()  # as `python -m api` makes it
    return ApiSettings(
        home=tmp_path / "home", redis_url=redis_url, data_root=data_root, sse_keepalive_seconds=0.5
    )


@pytest.fixture
def app(settings: ApiSettings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://testserver/v1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], str]]:
    """Starts applications behind real sockets; gives the base URL of each."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: FastAPI) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        running.append((server, thread))
        wait_until(lambda: server.started, what="the server to start")
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.fixture
def server_url(app: FastAPI, serve: Callable[[FastAPI], str]) -> str:
    return serve(app)


@pytest.fixture
def sdk(server_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=server_url, api_key="any") as sdk:
        yield sdk


@pytest.fixture
def running_job(store: JobStore) -> Claim:
    """A job that a worker has claimed."""
    return claim_new_job(store)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "my chats.json"
    path.write_bytes(CONVERSATIONS)
    return path


@pytest.fixture
def model(settings: ApiSettings) -> str:
    """A base model that is there."""
    directory = settings.home_directories.models / "my-t5"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    return "my-t5"


@pytest.fixture
def ledger(settings: ApiSettings) -> JobRecordStore:
    return JobRecordStore(settings.home_directories)


@pytest.fixture
def disk(settings: ApiSettings) -> Iterator[FullDisks]:
    with ExitStack() as mounts:
        yield FullDisks(settings, mounts)
