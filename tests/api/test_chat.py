"""Chat completions by the SDK; a serving process of the test's own answers."""

import json
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import SecretStr
from redis import Redis

from api.app import create_app
from api.settings import ApiSettings
from flant5_train.protocol.inference import RefusalKind
from flant5_train.serving.server import conversation_of
from tests.api.chat_scenes import Answering, Server, echo, never, refusing
from tests.api.scenes import wait_until
from worker.jobs.store import keys

HI: Any = [{"role": "user", "content": "good  day\u2028 🎉\n"}]
TEXT = "good  day\u2028 🎉\n"


@pytest.fixture
def patient(settings: ApiSettings, serve: Callable[[FastAPI], str]) -> Iterator[OpenAI]:
    """Tells every error at once, instead of trying again."""
    url = serve(create_app(settings))
    with OpenAI(base_url=url, api_key="any", max_retries=0) as sdk:
        yield sdk


def serving(redis_url: SecretStr, answering: Answering = echo) -> Server:
    return Server(redis_url, answering)


def test_a_completion_is_whole(patient: OpenAI, model: str, redis_url: SecretStr) -> None:
    with serving(redis_url):
        found = patient.chat.completions.create(model=model, messages=HI)
    assert ChatCompletion.model_validate(found.model_dump(), strict=True) == found
    (choice,) = found.choices
    assert (choice.message.role, choice.message.content) == ("assistant", TEXT)
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (found.object, found.model, found.system_fingerprint) == ("chat.completion", model, None)
    assert found.id.startswith("chatcmpl-")
    usage: Any = found.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (11, 4, 15)
    assert usage.truncated_prompt_tokens == 2


def test_a_stream_has_the_same_text_in_pieces(
    patient: OpenAI, model: str, redis_url: SecretStr
) -> None:
    with serving(redis_url):
        chunks = list(
            patient.chat.completions.create(
                model=model, messages=HI, stream=True, stream_options={"include_usage": True}
            )
        )
    first, *deltas, last, usage = chunks
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert first.choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in deltas] == [
        "good",
        " ",
        " day\u2028",
        " 🎉\n",
    ]
    assert {chunk.choices[0].finish_reason for chunk in (first, *deltas)} == {None}
    assert last.choices[0].finish_reason == "stop"
    assert last.choices[0].delta.content is None
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.total_tokens == 15


def test_a_stream_on_the_wire_is_events_up_to_done(
    patient: OpenAI, model: str, redis_url: SecretStr
) -> None:
    body = {"model": model, "messages": HI, "stream": True}
    with serving(redis_url):
        answer = httpx.post(f"{patient.base_url}chat/completions", json=body, timeout=60)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    documents = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert [one["choices"][0]["delta"] for one in documents][-2:] == [{"content": " 🎉\n"}, {}]
    assert {one["usage"] for one in documents} == {None}


def test_the_serving_process_is_asked_what_the_caller_asked(
    patient: OpenAI, model: str, redis_url: SecretStr
) -> None:
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c", "refusal": None},
        {"role": "user", "content": ""},
        {"role": "user", "content": []},
    ]
    with serving(redis_url) as server:
        patient.chat.completions.create(
            model=model,
            messages=messages,
            max_tokens=5,
            temperature=0.5,
            top_p=0.9,
            seed=-1,
            stop="END",
            n=1,
            user="me",
            store=True,
            metadata={"a": "b"},
            frequency_penalty=0,
            logprobs=False,
            response_format={"type": "text"},
        )
        patient.chat.completions.create(model=model, messages=HI, stop=["a", "b"])
    first, second = (chat.prompt for chat in server.chats)
    assert [(turn.role, turn.content) for turn in first.turns] == [
        ("developer", "Be brief."),
        ("user", "ab"),
        ("assistant", "c"),
        ("user", ""),
        ("user", ""),
    ]
    assert (first.max_new_tokens, first.temperature, first.top_p) == (5, 0.5, 0.9)
    assert (first.seed, first.stop) == (-1, ("END",))
    assert (second.max_new_tokens, second.temperature, second.top_p) == (None, 0, 1)
    assert (second.seed, second.stop) == (None, ("a", "b"))


def test_messages_of_one_role_in_a_row_and_names_are_taken(
    patient: OpenAI, model: str, redis_url: SecretStr
) -> None:
    messages: Any = [
        {"role": "system", "content": "Be brief.", "name": "operator"},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "Hi", "name": "Ada"},
        {"role": "user", "content": "Is anybody there?"},
        {"role": "assistant", "content": "Yes.", "name": "bot"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Good."},
    ]
    with serving(redis_url) as server:
        patient.chat.completions.create(model=model, messages=messages)
    (chat,) = server.chats
    assert [(turn.role, turn.text) for turn in conversation_of(chat.prompt.turns).turns] == [
        ("system", "Be brief.\n\nBe kind."),
        ("human", "Hi\n\nIs anybody there?"),
        ("gpt", "Yes.\n\nHi."),
        ("human", "Good."),
    ]


def test_a_model_that_is_not_there_is_refused_before_anybody_is_asked(patient: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="unknown model 'absent'; available: "):
        patient.chat.completions.create(model="absent", messages=HI)


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_serving_process_it_is_said_how_to_start_one(
    patient: OpenAI, model: str, redis: Redis, stream: bool
) -> None:
    with pytest.raises(
        openai.InternalServerError, match=r"no serving process .*flant5 up"
    ) as caught:
        patient.chat.completions.create(model=model, messages=HI, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (503, "no_serving_process")
    assert not redis.keys("flant5:chat*")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("invalid", 400, "invalid_value"),
        ("too_long", 400, "context_length_exceeded"),
        ("not_found", 404, "not_found"),
        ("failed", 500, "chat_failed"),
        ("unavailable", 503, "serving_process_lost"),
    ],
)
def test_what_the_serving_process_refuses_has_its_code(
    patient: OpenAI,
    model: str,
    redis_url: SecretStr,
    stream: bool,
    kind: RefusalKind,
    status: int,
    code: str,
) -> None:
    with serving(redis_url, refusing(kind)), pytest.raises(openai.APIStatusError) as caught:
        patient.chat.completions.create(model=model, messages=HI, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert "that's why" in caught.value.message
    assert caught.value.param == ("messages" if status == 400 else None)


def test_an_answer_that_breaks_off_is_an_error_in_either_form(
    patient: OpenAI, model: str, redis_url: SecretStr
) -> None:
    with serving(redis_url, refusing("unavailable", after=3)):
        with pytest.raises(openai.InternalServerError, match="that's why"):
            patient.chat.completions.create(model=model, messages=HI)
        with pytest.raises(openai.APIError, match="that's why"):
            list(patient.chat.completions.create(model=model, messages=HI, stream=True))


@pytest.mark.parametrize("stream", [False, True])
def test_a_serving_process_that_is_killed_leaves_nobody_waiting(
    patient: OpenAI, model: str, redis_url: SecretStr, stream: bool
) -> None:
    # It begins, and is gone: its thread ends with the next round.
    def begin_and_die(chat: Any) -> Any:
        server._is_over.set()
        return never(chat)

    server = serving(redis_url, begin_and_die)
    ask = partial(patient.chat.completions.create, model=model, messages=HI, stream=stream)
    with server, pytest.raises(openai.APIError, match="ended before the answer was complete"):
        list(ask())


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_is_no_longer_answered(
    patient: OpenAI, model: str, redis_url: SecretStr, redis: Redis, stream: bool
) -> None:
    body = {"model": model, "messages": HI, "stream": stream}
    content = json.dumps(body).encode()
    host, port = patient.base_url.host, patient.base_url.port
    head = (
        f"POST {patient.base_url.path}chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with serving(redis_url, never) as server:
        with socket.create_connection((host, port)) as leaving:
            leaving.sendall(head.encode() + content)
            wait_until(lambda: len(server.chats) == 1, what="the question", timeout_seconds=60)
        (chat,) = server.chats
        wait_until(
            lambda: not redis.exists(keys.chat(chat.id)),
            what="the question to be withdrawn",
            timeout_seconds=60,
        )


def test_an_answer_that_takes_too_long_is_given_up(
    settings: ApiSettings,
    serve: Callable[[FastAPI], str],
    model: str,
    redis_url: SecretStr,
    redis: Redis,
) -> None:
    hurried = settings.model_copy(update={"chat_timeout_seconds": 0.5})
    sdk = OpenAI(base_url=serve(create_app(hurried)), api_key="any", max_retries=0)
    with sdk, serving(redis_url, never), pytest.raises(openai.APIStatusError) as caught:
        sdk.chat.completions.create(model=model, messages=HI)
    assert (caught.value.status_code, caught.value.code) == (504, "chat_timeout")
    assert not redis.keys("flant5:chat:*")


def test_one_question_more_than_may_wait_is_told_to_come_back(
    settings: ApiSettings,
    serve: Callable[[FastAPI], str],
    model: str,
    redis_url: SecretStr,
    redis: Redis,
) -> None:
    small = settings.model_copy(update={"max_waiting_chats": 1})
    with OpenAI(base_url=serve(create_app(small)), api_key="any", max_retries=0) as sdk:
        redis.rpush(keys.CHATS, "chatcmpl-somebodys")
        redis.zadd(keys.CHAT_SERVERS, {"busy": 10**13})
        with pytest.raises(openai.RateLimitError, match=r"queue is full \(1 pending") as caught:
            sdk.chat.completions.create(model=model, messages=HI)
    assert caught.value.response.headers["retry-after"] == "5"


def test_a_stream_that_is_silent_says_that_it_is_there(
    patient: OpenAI, model: str, redis_url: SecretStr
) -> None:
    body = {"model": model, "messages": HI, "stream": True}
    url = f"{patient.base_url}chat/completions"
    with serving(redis_url, never), httpx.stream("POST", url, json=body, timeout=60) as answer:
        assert any(line == ": still here" for line in answer.iter_lines())
