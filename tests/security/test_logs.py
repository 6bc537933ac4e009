"""Logs for programs: every line of every process is one JSON object, and says what it is about."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.security.server import running_server
from tests.stack.service import REPOSITORY, wait_until
from worker.jobs.logging import JsonLines, about

NAMES = {"at", "level", "logger", "message", "process"}


def entries(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def formatted(message: str, *args: object) -> dict[str, Any]:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, message, args, None)
    (entry,) = entries(JsonLines("worker").format(record))
    return entry


def test_a_line_says_for_which_request_and_job_it_was_written() -> None:
    with about(request_id="req_1"):
        with about(job_id="ftjob-1"):
            entry = formatted("attempt %d begins", 2)
        assert (entry["request_id"], entry["job_id"]) == ("req_1", "ftjob-1")
        assert "job_id" not in formatted("after it")
    assert entry["message"] == "attempt 2 begins"
    assert set(formatted("before it")) == NAMES


def test_a_message_of_several_lines_is_one_line() -> None:
    entry = formatted("a\nb\r\x1b[2J\u2028%s", "\ud800")
    assert entry["message"] == "a\nb\r\x1b[2J\u2028\ud800"


def test_the_api_logs_requests_as_json(tmp_path: Path) -> None:
    with running_server(tmp_path, FLANT5_LOG_FORMAT="json") as server:
        answer = httpx.get(
            f"http://127.0.0.1:{server.port}/v1/nothing",
            headers={"Authorization": server.authorization, "X-Request-Id": "trace-7"},
            trust_env=False,
        )
        assert answer.status_code == 404
        wait_until(lambda: "trace-7" in server.log)
    found = entries(server.log)
    assert all(set(entry) >= NAMES and entry["process"] == "api" for entry in found)
    (request,) = [entry for entry in found if entry.get("request_id") == "trace-7"]
    assert request["message"] == "GET /v1/nothing 404 (trace-7)"
    # Those of the libraries too.
    assert "uvicorn.error" in {entry["logger"] for entry in found}


@pytest.mark.parametrize(
    ("process", "said"), [("worker", "ready."), ("controller", "Redis is not available")]
)
def test_the_other_processes_do_too(
    tmp_path: Path, redis_url: SecretStr, process: str, said: str
) -> None:
    log = tmp_path / "log"
    module = "worker" if process == "worker" else "worker.controller"
    # A controller that can work has nothing to say.
    url = redis_url.get_secret_value() if process == "worker" else "redis://127.0.0.1:1/0"
    environment = os.environ | {
        "FLANT5_LOG_FORMAT": "json",
        "FLANT5_HOME": str(tmp_path / "home"),
        "FLANT5_REDIS_URL": url,
        "FLANT5_WORKER_NAME": "w",
        "FLANT5_SLOTS": "cpu-0",
    }
    with log.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", module],
            env=environment,
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: said in log.read_text() or running.poll() is not None)
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(60)
    # Celery says this itself, past every logger.
    text = log.read_text().replace("\nworker: Warm shutdown (MainProcess)\n", "")
    found = entries(text)
    assert found
    assert all(set(entry) >= NAMES and entry["process"] == process for entry in found)
