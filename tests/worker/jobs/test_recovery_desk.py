"""Where a recovery is asked for: one at a time, whoever asks and whoever does it."""

import threading
import time

import pytest
from redis import Redis

from worker.jobs.rules import QueuePolicy
from worker.jobs.store.recovery import Recovery, RecoveryRequests
from worker.jobs.store.redis import Scripts


@pytest.fixture
def desk(redis: Redis) -> RecoveryRequests:
    return RecoveryRequests(Scripts(redis, QueuePolicy()))


def running(desk: RecoveryRequests) -> Recovery:
    requested = desk.request()
    recovery = requested.model_copy(update={"status": "running", "num_found": 3})
    assert desk.replace(requested, recovery)
    return recovery


def test_nothing_is_known_before_somebody_asks(desk: RecoveryRequests) -> None:
    assert desk.state() is None


def test_a_request_stands_until_it_is_done(desk: RecoveryRequests) -> None:
    requested = desk.request()
    assert requested.status == "requested"
    assert abs(requested.requested_at - time.time()) < 60
    assert desk.request() == requested == desk.state()


def test_a_request_while_one_is_under_way_joins_it(desk: RecoveryRequests) -> None:
    under_way = running(desk)
    assert desk.request() == under_way == desk.state()


def test_after_one_that_is_done_comes_a_new_one(desk: RecoveryRequests) -> None:
    under_way = running(desk)
    done = under_way.model_copy(update={"status": "done", "finished_at": time.time()})
    assert desk.replace(under_way, done)
    again = desk.request()
    assert (again.status, again.num_found, again.finished_at) == ("requested", 0, None)


def test_who_is_not_up_to_date_changes_nothing(desk: RecoveryRequests) -> None:
    requested = desk.request()
    under_way = requested.model_copy(update={"status": "running"})
    assert desk.replace(requested, under_way)
    late = requested.model_copy(update={"status": "running", "num_found": 7})
    assert not desk.replace(requested, late)
    assert desk.state() == under_way


def test_the_same_step_may_come_twice_because_its_answer_was_lost(desk: RecoveryRequests) -> None:
    requested = desk.request()
    under_way = requested.model_copy(update={"status": "running"})
    assert desk.replace(requested, under_way)
    assert desk.replace(requested, under_way)


def test_a_recovery_that_was_lost_with_the_store_is_not_gone_on_with(
    desk: RecoveryRequests, redis: Redis
) -> None:
    under_way = running(desk)
    redis.flushall()
    assert not desk.replace(under_way, under_way.model_copy(update={"num_found": 4}))
    assert desk.state() is None


def test_many_who_ask_at_once_get_the_same_recovery(desk: RecoveryRequests) -> None:
    answers: list[Recovery] = []
    threads = [threading.Thread(target=lambda: answers.append(desk.request())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len({answer.requested_at for answer in answers}) == 1
