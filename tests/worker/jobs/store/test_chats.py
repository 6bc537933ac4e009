"""Questions and answers on their way through Redis."""

import pytest
from redis import Redis

from flant5_train.protocol.inference import Delta, Finished, Started
from tests.worker.serving.scenes import Client, question
from worker.jobs.errors import ChatLimitError
from worker.jobs.store import keys
from worker.jobs.store.inference import (
    ANSWER_SECONDS,
    PRESENCE_SECONDS,
    WANTED_SECONDS,
    ChatQueue,
    ChatServers,
    Taken,
    new_server,
    read_answer_entry,
)


@pytest.fixture
def queue(redis: Redis) -> ChatQueue:
    return ChatQueue(redis)


def test_questions_are_taken_in_their_order_and_once(queue: ChatQueue) -> None:
    ids = [queue.submit(question(text), max_waiting=10) for text in ("one", "two", "three")]
    first = queue.take(2, server="a", wait_seconds=0)
    rest = queue.take(9, server="b", wait_seconds=0)
    assert [chat.id for chat in (*first, *rest)] == ids
    assert [chat.question.turns[0].content for chat in first] == ["one", "two"]
    assert queue.take(9, server="c", wait_seconds=0) == ()
    assert queue.take(1, server="c", wait_seconds=0.05) == ()


def test_one_more_than_may_wait_is_refused_and_leaves_nothing(
    queue: ChatQueue, redis: Redis
) -> None:
    queue.submit(question("one"), max_waiting=1)
    before = set(redis.keys())
    with pytest.raises(
        ChatLimitError, match=r"The inference queue is full \(1 pending requests, the limit\)"
    ):
        queue.submit(question("two"), max_waiting=1)
    assert set(redis.keys()) == before
    assert redis.llen(keys.CHATS) == 1


def test_an_answer_says_who_gives_it_and_then_its_pieces(redis: Redis, queue: ChatQueue) -> None:
    client = Client(redis)
    chat_id = client.ask("Hi")
    assert queue.is_waiting(chat_id)
    queue.take(1, server="gpu-0:1", wait_seconds=0.5)
    assert not queue.is_waiting(chat_id)
    pieces = (
        Started(id=chat_id, prompt_tokens=3, truncated_tokens=0),
        Delta(id=chat_id, text="  Grüße\u2028\n"),
        Finished(id=chat_id, reason="stop", completion_tokens=2),
    )
    queue.tell(pieces[:2])
    queue.tell(pieces[2:])
    assert client.entries(chat_id) == [Taken("gpu-0:1"), *pieces]


def test_a_question_without_a_client_is_not_answered(queue: ChatQueue, redis: Redis) -> None:
    gone, here = (queue.submit(question(text), max_waiting=9) for text in ("one", "two"))
    redis.delete(keys.chat(gone))  # as its time to live does
    assert [chat.id for chat in queue.take(9, server="a", wait_seconds=0)] == [here]
    assert queue.wanted([gone, here]) == {here}
    queue.withdraw(here)
    assert queue.wanted([gone, here]) == set()


def test_everything_about_a_question_ends_by_itself(queue: ChatQueue, redis: Redis) -> None:
    chat_id = queue.submit(question("one"), max_waiting=9)
    assert 0 < redis.ttl(keys.chat(chat_id)) <= WANTED_SECONDS
    redis.expire(keys.chat(chat_id), 1)
    queue.keep(chat_id)
    assert redis.ttl(keys.chat(chat_id)) > 1
    queue.take(1, server="a", wait_seconds=0)
    queue.tell([Delta(id=chat_id, text="x")])
    assert 0 < redis.ttl(keys.answer(chat_id)) <= ANSWER_SECONDS


def test_an_entry_that_is_none_of_ours_is_named() -> None:
    with pytest.raises(ValueError, match=r"found the entry \{'x': 'y'\} in an answer"):
        read_answer_entry({"x": "y"})


def test_a_serving_process_that_says_nothing_counts_as_gone(redis: Redis) -> None:
    servers = ChatServers(redis)
    silent, alive = new_server("gpu-0"), new_server("gpu-0")
    assert silent != alive
    servers.appear(silent)
    servers.appear(alive)
    assert servers.all() == {silent, alive}
    redis.zincrby(keys.CHAT_SERVERS, -PRESENCE_SECONDS * 1000 - 1, silent)
    assert servers.all() == {alive}
    servers.appear(alive)
    assert redis.zcard(keys.CHAT_SERVERS) == 1, "what is gone is forgotten"
    servers.leave(alive)
    assert servers.all() == set()
