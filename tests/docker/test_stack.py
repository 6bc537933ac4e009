"""The containers of `docker compose up`, used and broken from outside."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.commands import run
from tests.docker.project import NAME, Project
from tests.docker.work import create, download, ended, extra, follow, get, is_beyond
from tests.stack.service import wait_until

pytestmark = pytest.mark.docker

SERVICES = ("redis", "api", "controller", "worker-cpu", "serve")
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 6379), timeout=3)
except OSError as error:
    print(type(error).__name__)
else:
    print("connected")
"""


@pytest.fixture(scope="module")
def sdk(stack: Project) -> Iterator[openai.OpenAI]:
    with stack.sdk() as sdk:
        yield sdk


def inspect(stack: Project, service: str) -> dict[str, Any]:
    (container,) = stack.containers(service)
    found: list[dict[str, Any]] = json.loads(run("docker", "inspect", container))
    return found[0]


def test_a_job_goes_from_upload_to_a_model_that_loads(
    stack: Project, sdk: openai.OpenAI, tmp_path: Path
) -> None:
    job_id = create(sdk, max_steps=3, save_steps=2, model_max_length=64)
    events = follow(stack, job_id)
    assert any("training loss=" in event["message"] for event in events)
    job = ended(sdk, job_id)
    assert job.status == "succeeded", job.error
    download(stack, job_id, tmp_path)
    assert _answer(tmp_path)


def _answer(model: Path) -> list[int]:
    """Ids that a model and its tokenizer give for a question."""
    from transformers import T5ForConditionalGeneration, T5Tokenizer

    tokenizer = T5Tokenizer.from_pretrained(model)
    question = tokenizer("Hello", return_tensors="pt")
    loaded: Any = T5ForConditionalGeneration.from_pretrained(model)
    return list(loaded.generate(**question, max_new_tokens=4)[0].tolist())


def test_a_job_outlives_a_kill_of_each_container(stack: Project, sdk: openai.OpenAI) -> None:
    sdk = sdk.with_options(max_retries=8)  # while a container comes back
    job_id = create(sdk, max_steps=90, save_steps=3, model_max_length=64)
    for number, service in enumerate(("worker-cpu", "api", "redis"), start=1):
        wait_until(lambda: is_beyond(sdk, job_id, 4 * number), seconds=180)  # noqa: B023
        stack.kill(service)
        stack.start()
    job = ended(sdk, job_id)
    assert job.status == "succeeded", job.error
    assert extra(job, "attempt") >= 2
    steps = get(stack, f"/fine_tuning/jobs/{job_id}/metrics").json()["step"]
    assert steps == list(range(1, 91))


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_can_do_little(stack: Project, service: str) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in stack.inside(service, "cat", "/proc/self/status").stdout.splitlines()
    )
    assert set(status["Uid"].split()) <= {"10001", "999"}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert "Read-only file system" in stack.inside(service, "touch", "/opt/x").stderr
    found = inspect(stack, service)
    assert found["HostConfig"]["Memory"] > 0
    assert found["HostConfig"]["PidsLimit"] > 0
    assert not any("docker.sock" in mount["Source"] for mount in found["Mounts"])
    assert found["Config"]["Healthcheck"]["Test"]


@pytest.mark.parametrize("service", ["api", "controller", "worker-cpu"])
def test_data_sets_and_base_models_can_only_be_read(stack: Project, service: str) -> None:
    for directory in ("/data", "/models"):
        assert "Read-only file system" in stack.inside(service, "touch", f"{directory}/x").stderr


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_is_in_an_environment_or_an_argument_list(stack: Project, service: str) -> None:
    password = (stack.directory / "secrets" / "redis_password").read_text()
    assert password not in json.dumps(inspect(stack, service)["Config"])
    shown = stack.inside(service, "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ")
    assert "python" in shown.stdout or "valkey" in shown.stdout
    assert password not in shown.stdout


def test_redis_is_not_reachable_from_outside(stack: Project) -> None:
    found = inspect(stack, "redis")["NetworkSettings"]
    assert not any(found["Ports"].values())
    assert list(found["Networks"]) == [f"{NAME}_backend"]
    address = found["Networks"][f"{NAME}_backend"]["IPAddress"]
    (api,) = stack.containers("api")
    image = inspect(stack, "api")["Config"]["Image"]
    # A container beside ours, on the network that has a way out.
    command = ("docker", "run", "--rm", "--network", f"{NAME}_outside", image, "python", "-c")
    assert run(*command, CONNECT, address).strip() != "connected"
    # One of ours gets there, and gets nothing without the password.
    assert run("docker", "exec", api, "python", "-c", CONNECT, "redis").strip() == "connected"
    refused = stack.inside("redis", "valkey-cli", "ping")
    assert "NOAUTH" in refused.stdout + refused.stderr


def test_a_caller_without_a_key_is_refused(stack: Project) -> None:
    stranger = openai.OpenAI(base_url=stack.url, api_key="f5-wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.fine_tuning.jobs.list()


def test_a_worker_that_is_stopped_saves_and_goes_on_there(
    stack: Project, sdk: openai.OpenAI
) -> None:
    job_id = create(sdk, max_steps=60, save_steps=1000, model_max_length=64)
    wait_until(lambda: is_beyond(sdk, job_id, 3), seconds=180)
    stack.compose("stop", "worker-cpu")
    job = sdk.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "queued"
    (newest, *_) = sdk.fine_tuning.jobs.checkpoints.list(job_id)
    stack.start()
    job = ended(sdk, job_id)
    assert job.status == "succeeded", job.error
    messages = [event["message"] for event in follow(stack, job_id)]
    assert any(f"resumes after step {newest.step_number} of" in message for message in messages)


def test_what_the_compose_file_says_raises_no_warning(stack: Project) -> None:
    for profile in ("cpu", "gpu"):
        command = ["docker", "compose", "--profile", profile, "config", "--quiet"]
        assert shutil.which("docker")
        assert run("sh", "-c", f"{' '.join(command)} 2>&1", cwd=stack.directory) == ""
