"""Chats that can't be as they were asked for: each refusal names what it is about."""

import json

import pytest
from fastapi.testclient import TestClient

HI = [{"role": "user", "content": "good day"}]


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("n", 2),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "auto"),
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"50256": -100}),
        ("frequency_penalty", 0.5),
        ("presence_penalty", -1),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["audio"]),
        ("audio", {"voice": "x"}),
        ("prediction", {"type": "content"}),
        ("reasoning_effort", "high"),
        ("verbosity", "low"),
        ("web_search_options", {}),
        ("moderation", {"model": "x"}),
        ("temperature", 3),
        ("top_p", 0),
        ("stop", ["a"] * 5),
        ("stop", ""),
        ("seed", 2**64),
        ("max_tokens", 0),
        ("max_completion_tokens", -1),
        ("stream_options.include_all", True),
        ("temprature", 1),
    ],
)
def test_what_can_not_be_honoured_is_refused_by_its_name(
    client: TestClient, model: str, param: str, value: object
) -> None:
    outer, _, inner = param.partition(".")
    body = {"model": model, "messages": HI, outer: {inner: value} if inner else value}
    answer = client.post("/chat/completions", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"].startswith(param)
    assert param in error["message"]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages"),
        ("Hi", "messages"),
        ([{"role": "user"}], "messages.0.content: missing"),
        ([{"role": "alien", "content": "x"}], "messages.0.role: input should be 'system'"),
        ([{"role": "tool", "content": "x"}], "messages.0.role"),
        ([{"role": "assistant", "content": "x"}], "the last message has the role 'assistant'"),
        ([{"role": "system", "content": "x"}], "the last message has the role 'system'"),
        ([*HI, {"role": "system", "content": "x"}], "messages[1] has the role 'system'"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "messages.0.content: found a part 0 that is not text",
        ),
        ([{"role": "user", "content": None}], "messages.0.content"),
        ([*HI, {"role": "developer", "content": "x"}, *HI], "messages[1] has the role 'developer'"),
        ([{"role": "user", "content": "x", "tool_calls": [1]}], "messages.0.tool_calls"),
    ],
)
def test_messages_that_make_no_conversation_are_refused_with_the_place(
    client: TestClient, model: str, messages: object, message: str
) -> None:
    answer = client.post("/chat/completions", json={"model": model, "messages": messages})
    assert answer.status_code == 400, answer.text
    assert message in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"].startswith("messages")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "alien", "content": "x"},
        {"role": "user"},
        {"role": "user", "content": 5},
        {"role": "user", "content": [{"type": "image_url"}]},
        {"role": "user", "content": "x", "tool_calls": [1]},
        {"role": "alien", "content": 5, "tool_calls": [1], "mood": 1},
        5,
    ],
)
def test_one_bad_message_is_one_error(client: TestClient, model: str, message: object) -> None:
    body = {"model": model, "messages": [*HI, message]}
    error = client.post("/chat/completions", json=body).json()["error"]
    assert error["param"].startswith("messages.1")
    assert "; messages" not in error["message"]
    assert "at least 1 item" not in error["message"]


@pytest.mark.parametrize("field", ["model", "stop", "messages"])
def test_half_a_character_is_refused(client: TestClient, model: str, field: str) -> None:
    body = json.dumps({"model": model, "messages": HI, "stop": "x"})
    found = {"model": model, "stop": "x", "messages": "good"}[field]
    answer = client.post(
        "/chat/completions",
        content=body.replace(f'"{found}', r'"\ud800'),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith(field)


def test_two_lengths_that_differ_are_refused(client: TestClient, model: str) -> None:
    lengths = {"max_tokens": 5, "max_completion_tokens": 6}
    answer = client.post("/chat/completions", json={"model": model, "messages": HI, **lengths})
    assert (
        answer.json()["error"]["message"] == "max_tokens: found 5, but max_completion_tokens is 6"
    )
