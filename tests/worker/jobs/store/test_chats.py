"""Questions and answers on their way through Redis."""

import pytest
from redis import Redis

from flant5_train.protocol.inference import AnswerFinished, AnswerStarted, TextDelta
from tests.worker.serving.scenes import Client, question
from worker.jobs.errors import ChatLimitError
from worker.jobs.store import keys
from worker.jobs.store.inference import (
    ANSWER_SECONDS,
    PRESENCE_SECONDS,
    REQUEST_TTL_SECONDS,
    Claimed,
    InferenceQueue,
    InferenceWorkers,
    new_worker_name,
    read_answer_entry,
)


@pytest.fixture
def queue(redis: Redis) -> InferenceQueue:
    return InferenceQueue(redis)


def test_questions_are_taken_in_their_order_and_once(queue: InferenceQueue) -> None:
    ids = [queue.submit(question(text), max_waiting=10) for text in ("one", "two", "three")]
    first = queue.claim(2, server="a", wait_seconds=0)
    rest = queue.claim(9, server="b", wait_seconds=0)
    assert [chat.id for chat in (*first, *rest)] == ids
    assert [chat.prompt.turns[0].content for chat in first] == ["one", "two"]
    assert queue.claim(9, server="c", wait_seconds=0) == ()
    assert queue.claim(1, server="c", wait_seconds=0.05) == ()


def test_one_more_than_may_wait_is_refused_and_leaves_nothing(
    queue: InferenceQueue, redis: Redis
) -> None:
    queue.submit(question("one"), max_waiting=1)
    before = set(redis.keys())
    with pytest.raises(
        ChatLimitError, match=r"The inference queue is full \(1 pending requests, the limit\)"
    ):
        queue.submit(question("two"), max_waiting=1)
    assert set(redis.keys()) == before
    assert redis.llen(keys.CHATS) == 1


def test_an_answer_says_who_gives_it_and_then_its_pieces(
    redis: Redis, queue: InferenceQueue
) -> None:
    client = Client(redis)
    chat_id = client.ask("Hi")
    assert queue.is_waiting(chat_id)
    queue.claim(1, server="gpu-0:1", wait_seconds=0.5)
    assert not queue.is_waiting(chat_id)
    pieces = (
        AnswerStarted(id=chat_id, prompt_tokens=3, truncated_tokens=0),
        TextDelta(id=chat_id, text="  Grüße\u2028\n"),
        AnswerFinished(id=chat_id, reason="stop", completion_tokens=2),
    )
    queue.append(pieces[:2])
    queue.append(pieces[2:])
    assert client.entries(chat_id) == [Claimed("gpu-0:1"), *pieces]


def test_a_question_without_a_client_is_not_answered(queue: InferenceQueue, redis: Redis) -> None:
    gone, here = (queue.submit(question(text), max_waiting=9) for text in ("one", "two"))
    redis.delete(keys.chat(gone))  # as its time to live does
    assert [chat.id for chat in queue.claim(9, server="a", wait_seconds=0)] == [here]
    assert queue.active([gone, here]) == {here}
    queue.cancel(here)
    assert queue.active([gone, here]) == set()


def test_everything_about_a_question_ends_by_itself(queue: InferenceQueue, redis: Redis) -> None:
    chat_id = queue.submit(question("one"), max_waiting=9)
    assert 0 < redis.ttl(keys.chat(chat_id)) <= REQUEST_TTL_SECONDS
    redis.expire(keys.chat(chat_id), 1)
    queue.renew(chat_id)
    assert redis.ttl(keys.chat(chat_id)) > 1
    queue.claim(1, server="a", wait_seconds=0)
    queue.append([TextDelta(id=chat_id, text="x")])
    assert 0 < redis.ttl(keys.answer(chat_id)) <= ANSWER_SECONDS


def test_an_entry_that_is_none_of_ours_is_named() -> None:
    with pytest.raises(ValueError, match=r"found the entry \{'x': 'y'\} in an answer"):
        read_answer_entry({"x": "y"})


def test_a_serving_process_that_says_nothing_counts_as_gone(redis: Redis) -> None:
    workers = InferenceWorkers(redis)
    silent, alive = new_worker_name("gpu-0"), new_worker_name("gpu-0")
    assert silent != alive
    workers.register(silent)
    workers.register(alive)
    assert workers.all() == {silent, alive}
    redis.zincrby(keys.CHAT_SERVERS, -PRESENCE_SECONDS * 1000 - 1, silent)
    assert workers.all() == {alive}
    workers.register(alive)
    assert redis.zcard(keys.CHAT_SERVERS) == 1, "what is gone is forgotten"
    workers.deregister(alive)
    assert workers.all() == set()
