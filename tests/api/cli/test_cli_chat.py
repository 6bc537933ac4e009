"""`flant5 chat`, as a person at a terminal or a script sees it."""

import subprocess
from collections.abc import Iterable, Iterator

import pytest
from pydantic import SecretStr

from flant5_train.protocol.inference import StreamEvent
from tests.api.chat_scenes import Server, echo, refusing
from tests.api.cli_runs import FLANT5, Run, environment, flant5
from worker.jobs.store.inference import InferenceRequest


@pytest.fixture
def server(redis_url: SecretStr) -> Iterator[Server]:
    def whole_conversation(chat: InferenceRequest) -> Iterable[StreamEvent]:
        """The last message, and how many came before it."""
        *before, last = chat.prompt.turns
        content = f"{last.content} ({', '.join(turn.role[0] for turn in before)})"
        turns = (*before, last.model_copy(update={"content": content}))
        prompt = chat.prompt.model_copy(update={"turns": turns})
        yield from echo(InferenceRequest(chat.id, prompt))

    with Server(redis_url, whole_conversation) as server:
        yield server


def typed(text: str, *args: str, url: str) -> Run:
    """What comes of typing this."""
    done = subprocess.run(
        [*FLANT5, "chat", *args],
        env=environment(url=url),
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(code=done.returncode, out=done.stdout, err=done.stderr)


def test_one_question_is_answered_and_can_be_read_by_a_program(
    server_url: str, model: str, server: Server
) -> None:
    run = flant5("chat", model, "--message", "Good day  🎉", url=server_url)
    assert (run.code, run.out) == (0, "Good day  🎉 ()\n")
    answer = flant5(
        "chat",
        model,
        "-m",
        "Hi",
        "--json",
        "--system",
        "Be brief.",
        *("--set", "temperature=0.5", "--set", "stop=END"),
        url=server_url,
    ).document
    assert answer["choices"][0]["message"]["content"] == "Hi (s)"
    prompt = server.chats[-1].prompt
    assert (prompt.temperature, prompt.stop) == (0.5, ("END",))
    assert typed("from a\npipe", model, "-m", "-", url=server_url).out == "from a\npipe ()\n"


def test_a_conversation_is_remembered_until_it_is_reset(
    server_url: str, model: str, server: Server
) -> None:
    lines = ("one", "two", "/system Be brief.", "three", "four", "/reset", "five", "/what", "")
    run = typed("\n".join([*lines, "/quit", "never"]), model, url=server_url)
    assert run.code == 0
    assert run.out.splitlines() == [
        "one ()",
        "two (u, a)",
        "three (s)",
        "four (s, u, a)",
        "five (s)",
    ]
    assert "unknown command /what; /reset clears" in run.err


def test_a_program_can_hold_a_conversation(server_url: str, model: str, server: Server) -> None:
    run = typed("one\ntwo\n", model, "--json", url=server_url)
    said = [answer["choices"][0]["message"]["content"] for answer in run.lines]
    assert (run.code, said) == (0, ["one ()", "two (u, a)"])


def test_the_end_of_the_input_ends_it(server_url: str, model: str, server: Server) -> None:
    assert typed("one\n", model, url=server_url).out == "one ()\n"


def test_what_commands_a_terminal_is_shown_and_not_done(
    server_url: str, model: str, server: Server
) -> None:
    run = flant5("chat", model, "-m", "\x1b[2J\tred", url=server_url)
    assert run.out == "\\x1b[2J\tred ()\n"


def test_a_refused_question_costs_a_line_and_not_the_conversation(
    server_url: str, model: str, redis_url: SecretStr
) -> None:
    with Server(redis_url, refusing("unavailable", after=2)):
        run = typed("one\ntwo\n", model, url=server_url)
    assert run.code == 0
    assert run.err.count("flant5: that's why") == 2


def test_what_can_not_be_is_said_in_a_line(server_url: str, model: str) -> None:
    assert "unknown model 'absent'" in typed("", "absent", url=server_url).err
    assert "unknown model 'absent'" in flant5("chat", "absent", "-m", "Hi", url=server_url).err
    run = flant5("chat", model, "-m", "Hi", url=server_url)
    assert (run.code, "no serving process is running" in run.err) == (1, True)
    run = flant5("chat", model, "-m", "Hi", "--set", "tools=[1]", url=server_url)
    assert "tools: found [1], which is not supported; expected" in run.err
    assert "expected" in flant5("chat", model, "-m", "Hi", "--set", "x", url=server_url).err
