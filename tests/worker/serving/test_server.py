"""The serving process with a program that answers at once, dies, hangs and mumbles."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from flant5_train.protocol.inference import AnswerFinished, Refused
from tests.worker.scenes import environment, is_alive, wait_until
from tests.worker.serving.scenes import Client
from worker.jobs.store.inference import InferenceWorkers
from worker.serving.health import serving_trouble
from worker.serving.process import InferenceSettings, inference_environment
from worker.serving.server import InferenceWorker

PROGRAM = Path(__file__).parents[1] / "programs" / "answers_by_echo.py"


@pytest.fixture
def settings(redis_url: SecretStr, tmp_path: Path) -> InferenceSettings:
    model = tmp_path / "home" / "models" / "my-t5"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    return InferenceSettings(home=tmp_path / "home", redis_url=redis_url, inference_name="host-1")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """What the program was told."""
    return tmp_path / "notes"


@pytest.fixture
def server(settings: InferenceSettings, redis: Redis, notes: Path) -> Iterator[InferenceWorker]:
    server = InferenceWorker(
        settings, redis, argv=lambda _: [sys.executable, str(PROGRAM), str(notes)]
    )
    yield server
    server.close()


@pytest.fixture
def client(redis: Redis) -> Client:
    return Client(redis)


def rounds(server: InferenceWorker, until: Callable[[], object]) -> None:
    def one_more() -> object:
        server.round()
        return until()

    wait_until(one_more, seconds=60)


def test_each_question_gets_its_answer(server: InferenceWorker, client: Client) -> None:
    ids = [client.ask(text) for text in ("good day", "bye")]
    rounds(server, lambda: all(map(client.end, ids)))
    assert [client.text(chat_id) for chat_id in ids] == ["good day", "bye"]
    end = client.end(ids[0])
    assert end == AnswerFinished(id=ids[0], reason="stop", completion_tokens=2)


def test_no_program_runs_before_the_first_question(server: InferenceWorker) -> None:
    server.round()
    assert server.program is None


def test_a_model_that_is_gone_is_said_to_be(
    server: InferenceWorker, client: Client, settings: InferenceSettings
) -> None:
    first, second = client.ask("hello"), client.ask("hello", model="ft:gone:a:b:c")
    rounds(server, lambda: client.end(first) and client.end(second))
    end = client.end(second)
    assert isinstance(end, Refused)
    assert (end.kind, end.message) == ("not_found", "no fine-tuned model 'ft:gone:a:b:c'")
    (settings.home / "models" / "my-t5" / "config.json").unlink()
    again = client.ask("hello")
    rounds(server, lambda: client.end(again))
    assert isinstance(client.end(again), Refused)


def test_a_callers_model_is_called_by_its_name(server: InferenceWorker, client: Client) -> None:
    chat_id = client.ask("which model?")
    rounds(server, lambda: client.end(chat_id))
    end = client.end(chat_id)
    assert isinstance(end, Refused)
    assert end.message == "model 'my-t5' can't be loaded"


def test_the_demo_model_is_the_one_that_was_built_last(
    server: InferenceWorker, client: Client, settings: InferenceSettings
) -> None:
    none_yet = client.ask("which model?", model="flant5-demo")
    rounds(server, lambda: client.end(none_yet))
    end = client.end(none_yet)
    assert isinstance(end, Refused)
    assert "does not exist yet" in end.message
    built = settings.home / "models" / "flant5-demo-abc"
    built.mkdir()
    (built / "config.json").write_text("{}")
    chat_id = client.ask("hello", model="flant5-demo")
    rounds(server, lambda: client.end(chat_id))
    assert client.text(chat_id) == "hello"


@pytest.mark.parametrize("trouble", ["die", "mumble"])
def test_a_program_that_ends_answers_its_clients_with_an_error_and_comes_back(
    server: InferenceWorker, client: Client, trouble: str
) -> None:
    hanging = client.ask("hang")
    rounds(server, lambda: server.program)
    assert server.program is not None
    pid = server.program.pid
    fatal = client.ask(trouble)
    rounds(server, lambda: client.end(hanging) and client.end(fatal))
    for chat_id in (hanging, fatal):
        end = client.end(chat_id)
        assert isinstance(end, Refused)
        assert end.kind == "unavailable"
        assert "exited (killed by SIGKILL) before it finished" in end.message
    assert not is_alive(pid)
    chat_id = client.ask("still there?")
    rounds(server, lambda: client.end(chat_id))
    assert client.text(chat_id) == "still there?"


def test_a_client_that_goes_away_cancels_its_answer(
    server: InferenceWorker, client: Client, notes: Path
) -> None:
    chat_id = client.ask("hang")
    rounds(server, lambda: notes.exists() and f"ask {chat_id}" in notes.read_text())
    client.queue.cancel(chat_id)
    rounds(server, lambda: f"cancel {chat_id}" in notes.read_text())
    assert client.entries(chat_id) == []


def test_as_many_questions_are_taken_as_two_batches_hold(
    settings: InferenceSettings, redis: Redis, client: Client, notes: Path
) -> None:
    small = settings.model_copy(update={"inference_max_batch_size": 1})
    server = InferenceWorker(
        small, redis, argv=lambda _: [sys.executable, str(PROGRAM), str(notes)]
    )
    try:
        ids = [client.ask("hang") for _ in range(3)]
        for _ in range(3):
            server.round()
        assert [client.queue.is_waiting(chat_id) for chat_id in ids] == [False, False, True]
    finally:
        server.close()


def test_a_server_that_stops_says_so_and_leaves(
    settings: InferenceSettings, redis: Redis, client: Client, notes: Path
) -> None:
    server = InferenceWorker(
        settings, redis, argv=lambda _: [sys.executable, str(PROGRAM), str(notes)]
    )
    chat_id = client.ask("hang")
    rounds(server, lambda: server.program)
    assert serving_trouble(settings) is None
    server.close()
    end = client.end(chat_id)
    assert isinstance(end, Refused)
    assert end.message == "the serving process is shutting down; try again"
    assert InferenceWorkers(redis).all() == set()
    assert "'host-1' has sent no heartbeat for 10 s" in str(serving_trouble(settings))


def test_answers_end_when_redis_was_away(
    server: InferenceWorker, client: Client, notes: Path, redis: Redis
) -> None:
    chat_id = client.ask("hang")
    rounds(server, lambda: notes.exists() and f"ask {chat_id}" in notes.read_text())
    server.abandon()
    wait_until(lambda: f"cancel {chat_id}" in notes.read_text(), seconds=60)
    chat_id = client.ask("hello")
    rounds(server, lambda: client.end(chat_id))
    assert client.text(chat_id) == "hello"


def test_no_gpu_is_seen_by_a_program_that_answers_on_the_cpu() -> None:
    inherited = {"CUDA_VISIBLE_DEVICES": "0", "FLANT5_REDIS_URL": "redis://:secret@x", "PATH": "/"}
    on_cpu = inference_environment(inherited, device="cpu")
    assert on_cpu == {"PATH": "/", "CUDA_VISIBLE_DEVICES": ""}
    on_gpu = inference_environment(inherited, device="cuda")
    assert on_gpu == {"PATH": "/", "CUDA_VISIBLE_DEVICES": "0"}


def test_the_process_ends_on_sigterm_and_takes_its_program_along(
    settings: InferenceSettings, client: Client, notes: Path
) -> None:
    code = (
        "import sys; from worker.serving.__main__ import main; "
        f"main(lambda _: [sys.executable, {str(PROGRAM)!r}, {str(notes)!r}])"
    )
    variables = environment(
        FLANT5_HOME=str(settings.home), FLANT5_REDIS_URL=settings.redis_url.get_secret_value()
    )
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen([sys.executable, "-c", code], env=variables) as process:
            try:
                chat_id = client.ask("hang")
                wait_until(
                    lambda: notes.exists() and f"ask {chat_id}" in notes.read_text(),  # noqa: B023
                    seconds=60,
                )
                (child,) = (
                    Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                )
                process.send_signal(ending)
                assert process.wait(timeout=60) == (0 if ending == signal.SIGTERM else -9)
            finally:
                process.kill()
        wait_until(lambda: not is_alive(int(child)), seconds=60)  # noqa: B023
        if ending == signal.SIGTERM:
            assert isinstance(client.end(chat_id), Refused)
