"""A model that knows twenty answers by heart says them exactly, code included."""

import fcntl
import json
import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.stack.memorized import PAIRS, SETTINGS, write_pairs
from tests.stack.service import FLANT5, Process, Service, processes_with, wait_until

pytestmark = pytest.mark.stack

ANSWERING = "-m flant5_train.serving"


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=service.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def job(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The job that learned them."""
    file_id = service.upload(write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.json"))
    job = service.ended(service.submit(file_id, **SETTINGS), seconds=600)
    assert job["status"] == "succeeded", job["error"]
    return job


@pytest.fixture(scope="module")
def model(job: dict[str, Any]) -> str:
    return str(job["fine_tuned_model"])


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def program(service: Service) -> Process:
    """The one that answers in this service."""
    (serving,) = [
        each
        for each in processes_with("-m worker.serving")
        if f"FLANT5_HOME={service.home}".encode()
        in Path(f"/proc/{each.pid}/environ").read_bytes().split(b"\0")
    ]
    (found,) = [each for each in processes_with(ANSWERING) if each.parent == serving.pid]
    return found


def test_each_answer_is_what_was_trained(client: openai.OpenAI, model: str) -> None:
    def ask(question: str) -> Any:
        return client.chat.completions.create(model=model, messages=user(question)).choices[0]

    with ThreadPoolExecutor(len(PAIRS)) as pool:
        together = list(pool.map(ask, [question for question, _ in PAIRS]))
    assert [choice.message.content for choice in together] == [answer for _, answer in PAIRS]
    assert {choice.finish_reason for choice in together} == {"stop"}
    assert ask(PAIRS[1][0]).message.content == PAIRS[1][1], "and so is one that is asked alone"


def test_each_answer_is_streamed_token_by_token(client: openai.OpenAI, model: str) -> None:
    num_pieces = 0
    for question, answer in PAIRS:
        stream = client.chat.completions.create(model=model, messages=user(question), stream=True)
        texts = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(texts) == answer
        assert "\ufffd" not in "".join(texts)
        num_pieces += len([text for text in texts if text])
    assert num_pieces > 10 * len(PAIRS)


def test_a_checkpoint_and_the_base_model_answer_too(
    service: Service, client: openai.OpenAI, job: dict[str, Any], model: str
) -> None:
    question, answer = PAIRS[0]
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job["id"])
    names = [each.fine_tuned_model_checkpoint for each in checkpoints]
    said = {
        name: client.chat.completions.create(
            model=name, messages=user(question), max_tokens=20
        ).choices[0]
        for name in (*names, "flant5-demo")
    }
    assert said[f"{model}:ckpt-step-120"].message.content == answer
    assert said["flant5-demo"].message.content != answer
    assert len(said) == 3


def test_the_command_line_says_it_too(service: Service, model: str) -> None:
    question, answer = PAIRS[1]
    command = [FLANT5, "chat", model, "--message", question]
    variables = os.environ | {"FLANT5_URL": service.url}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == f"{answer}\n"
    done = subprocess.run(
        [*command, "--json"], env=variables, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == answer


def num_unread(process: Process) -> int:
    """Bytes that it was told and has not read."""
    pipe = os.open(f"/proc/{process.pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), "little")
    finally:
        os.close(pipe)


def test_a_killed_program_costs_its_clients_an_error_and_nobody_else_anything(
    service: Service, client: openai.OpenAI, model: str
) -> None:
    killed = program(service)
    os.kill(killed.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(
            client.chat.completions.create, model=model, messages=user(PAIRS[0][0])
        )
        wait_until(lambda: num_unread(killed) > 0, seconds=60)
        os.kill(killed.pid, signal.SIGKILL)
        error = asking.exception(timeout=60)
    assert isinstance(error, openai.InternalServerError)
    assert (error.status_code, error.code) == (503, "serving_process_lost")
    assert "exited (killed by SIGKILL) before it finished" in error.message
    again = client.chat.completions.create(model=model, messages=user(PAIRS[0][0]))
    assert again.choices[0].message.content == PAIRS[0][1]
    assert program(service).pid != killed.pid


def test_a_model_that_was_deleted_answers_nobody(client: openai.OpenAI, model: str) -> None:
    client.models.delete(model)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=model, messages=user("Hi"))
