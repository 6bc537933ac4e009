"""Conversations of the chat page, and the models it offers."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from api.auth import KeyRing, hash_of
from api.dashboard.chat.answer import answer
from api.dashboard.chat.history import (
    BASE,
    LEFT,
    MODEL,
    ChatConversation,
    ChatReply,
    ConversationCache,
    new_conversation_id,
)
from api.dashboard.chat.page import base_of, models_to_ask
from api.dashboard.ui.auth import Sessions, SessionUser
from api.dependencies import Services
from api.http.errors import NoServerError
from api.settings import ApiSettings
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import JobSpec, model_id
from worker.jobs.store import keys
from worker.jobs.store.inference import KEEP_SECONDS, MAX_CONVERSATIONS
from worker.jobs.store.serialization import NewCheckpoint, Succeeded, Update


def test_each_side_is_told_what_was_said_to_it_and_no_more() -> None:
    conversation = ChatConversation(system="Be brief.", temperature=0.5, max_tokens=9)
    conversation = conversation.asked("one", sides=(MODEL, BASE)).answered(MODEL, ChatReply("1"))
    conversation = conversation.answered(
        BASE, ChatReply("half of it", error="the serving process has ended")
    )
    conversation = conversation.asked("two", sides=(MODEL,)).answered(
        MODEL, ChatReply("2", note="stopped")
    )
    conversation = conversation.asked("three", sides=(MODEL, BASE))
    system = {"role": "system", "content": "Be brief."}
    assert conversation.request("ft:x", side=MODEL) == {
        "model": "ft:x",
        "messages": [
            system,
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "1"},
            {"role": "user", "content": "two"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "three"},
        ],
        "temperature": 0.5,
        "max_completion_tokens": 9,
    }
    messages = conversation.request("x", side=BASE)["messages"]
    assert messages == [system, {"role": "user", "content": "three"}]
    assert conversation.rounds[-1].answers == {MODEL: LEFT, BASE: LEFT}


def test_a_conversation_is_found_by_its_owner_alone(redis: Redis) -> None:
    alice, bob = (ConversationCache(redis, owner=name) for name in ("alice", "bob"))
    conversation = ChatConversation(system="hers", temperature=0.5).asked(
        "<b>", sides=(MODEL, BASE)
    )
    conversation = conversation.answered(MODEL, ChatReply("é\n", note="2 tokens"))
    talk_id = new_conversation_id()
    alice.keep(talk_id, conversation)
    assert ConversationCache(redis, owner="alice").get(talk_id) == conversation, (
        "after a restart too"
    )
    assert bob.get(talk_id) is None
    assert ConversationCache(redis, owner="").get(f"alice:{talk_id}") is None, "an id is no path"
    assert alice.get("") is None


def test_conversations_are_kept_for_a_while_and_the_longest_unused_go_first(redis: Redis) -> None:
    cache = ConversationCache(redis, owner="bob")
    for number in range(MAX_CONVERSATIONS):
        cache.keep(str(number), ChatConversation())
    cache.keep("0", ChatConversation(system="used again"))
    cache.keep("one_more", ChatConversation())
    assert cache.get("0") is not None
    assert cache.get("1") is None
    assert redis.zcard(keys.CONVERSATIONS) == MAX_CONVERSATIONS
    left = redis.ttl(keys.conversation("bob", "0"))
    assert KEEP_SECONDS - 600 < int(str(left)) <= KEEP_SECONDS
    redis.zincrby(keys.CONVERSATIONS, -KEEP_SECONDS * 1000, keys.conversation("bob", "0"))
    cache.keep("2", ChatConversation())
    assert redis.zscore(keys.CONVERSATIONS, keys.conversation("bob", "0")) is None, (
        "its time was over"
    )


def test_what_is_no_conversation_is_told_and_begins_a_new_one(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.set(keys.conversation("bob", "old"), '{"rounds": "of another version"}')
    assert ConversationCache(redis, owner="bob").get("old") is None
    assert "cannot load conversation old" in caplog.text


def test_a_conversation_does_not_grow_for_ever() -> None:
    conversation = ChatConversation().asked("x" * 60_000, sides=(MODEL,))
    assert not conversation.is_full
    assert conversation.answered(MODEL, ChatReply("y" * 60_000)).is_full
    conversation = ChatConversation()
    for _ in range(100):
        assert not conversation.is_full
        conversation = conversation.asked("", sides=(MODEL,))
    assert conversation.is_full


@pytest.fixture
def services(settings: ApiSettings) -> Services:
    return Services.build(settings)


@pytest.fixture
def visitors(tmp_path: Path, services: Services) -> dict[str, SessionUser]:
    path = tmp_path / "keys"
    path.write_text("".join(f"{name}:{hash_of(name)}\n" for name in ("alice", "bob")))
    sessions = Sessions(KeyRing(path))
    names = ("alice", "bob")
    return {name: SessionUser(services, sessions, sessions.begin(name)) for name in names}


def made_by_alice(services: Services) -> str:
    """A model, with the checkpoints 5, which was deleted since, and 10."""
    store, spec = services.store, JobSpec(model="flant5-demo", training_file="chats.json")
    job = store.create(spec, owner="alice")
    assert store.accept(job.id)
    claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=600)
    assert claim is not None
    output = services.home.run_directory(job.id).output
    for directory in (output, output / "checkpoint-10"):
        directory.mkdir(parents=True)
        (directory / "config.json").write_text("{}")
    checkpoints = tuple(NewCheckpoint(n, f"output/checkpoint-{n}", {}) for n in (5, 10))
    assert store.leases.record(claim, Update(checkpoints=checkpoints))
    model = model_id(job.id, spec)
    assert store.leases.finish(claim, Succeeded(model))
    return model


def test_models_and_checkpoints_are_offered_to_those_who_may_see_them(
    services: Services, visitors: dict[str, SessionUser]
) -> None:
    model = made_by_alice(services)
    checkpoint = f"{model}:ckpt-step-10"
    assert set(models_to_ask(visitors["alice"])) == {model, checkpoint, "flant5-demo"}
    assert set(models_to_ask(visitors["bob"])) == {"flant5-demo"}
    for each in (model, checkpoint):
        assert base_of(visitors["alice"], each) == "flant5-demo"
        with pytest.raises(NotFoundError, match="no fine-tuned model"):
            base_of(visitors["bob"], each)
    assert base_of(visitors["bob"], "flant5-demo") is None
    with pytest.raises(NotFoundError, match="available: "):
        base_of(visitors["bob"], "nothing-of-the-kind")


def test_what_a_key_may_not_ask_or_see_is_refused_before_it_is_asked(
    services: Services, visitors: dict[str, SessionUser]
) -> None:
    question = ChatConversation(temperature=9).asked("Hi", sides=(MODEL,))

    async def ask(name: str, conversation: ChatConversation, model: str) -> None:
        async for _ in answer(visitors[name], conversation.request(model, side=MODEL)):
            raise AssertionError("there is nobody to answer")

    with pytest.raises(InvalidRequestError, match=r"temperature: .* got 9"):
        asyncio.run(ask("alice", question, "flant5-demo"))
    with pytest.raises(NotFoundError):
        asyncio.run(ask("bob", replace(question, temperature=None), made_by_alice(services)))
    with pytest.raises(NoServerError, match=r"python -m worker\.serving"):
        asyncio.run(ask("bob", replace(question, temperature=None), "flant5-demo"))
