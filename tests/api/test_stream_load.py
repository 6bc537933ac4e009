"""Live streams of many clients at once."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, closing

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from redis import Redis

from api.app import create_app
from api.settings import ApiSettings
from api.streaming.broadcast import (
    MAX_WAITING_FRAMES,
    Signal,
    SseEvent,
    StreamBroadcaster,
    StreamSubscription,
)
from tests.api.scenes import Sent, claim_new_job, follow, wait_until
from tests.api.stream_scenes import drain, in_background, messages, report, url_of
from worker.jobs.store.serialization import Claim, Succeeded
from worker.jobs.store.store import JobStore

SUCCEEDED = Succeeded("ft:flant5-demo:flant5::abcdefgh")


def test_a_burst_larger_than_the_waiting_room_arrives_whole(
    server_url: str, store: JobStore, running_job: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.streaming.broadcast.MAX_WAITING_FRAMES", 3)
    with in_background(follow(url_of(server_url, running_job))) as seen:
        wait_until(lambda: len(messages(seen)) >= 3, what="the history")
        report(store, running_job, *(str(number) for number in range(400)))
        store.leases.finish(running_job, SUCCEEDED)
    assert [sent.seq for sent in seen if sent.event == "message"] == list(range(1, 405))


def test_streams_of_many_clients_and_jobs_share_one_reader(
    server_url: str, store: JobStore, redis: Redis
) -> None:
    claims = [claim_new_job(store) for _ in range(3)]
    seen: list[list[Sent]] = []
    threads = []
    for number in range(18):
        url = url_of(server_url, claims[number % 3])
        seen.append([])
        thread = threading.Thread(target=drain, args=(follow(url), seen[-1]), daemon=True)
        thread.start()
        threads.append(thread)
    wait_until(lambda: all(len(messages(each)) >= 3 for each in seen), what="all histories")
    readers = [client for client in redis.client_list() if client["cmd"] == "xread"]
    assert len(readers) == 1
    for claim in claims:
        report(store, claim, f"news of {claim.job.id}")
        store.leases.finish(claim, SUCCEEDED)
    for number, thread in enumerate(threads):
        thread.join(timeout=20)
        assert messages(seen[number])[3] == f"news of {claims[number % 3].job.id}"
        assert seen[number][-1].event == "end"


def test_a_crowd_that_comes_at_once_is_served_over_a_few_connections(
    redis_url: SecretStr, redis: Redis, store: JobStore, running_job: Claim
) -> None:
    async def scenario() -> None:
        broadcaster = StreamBroadcaster(redis_url)
        async with broadcaster.running(), AsyncExitStack() as crowd:
            subscriptions = await asyncio.gather(
                *(
                    crowd.enter_async_context(broadcaster.subscribe(running_job.job.id, "events"))
                    for _ in range(300)
                )
            )
            report(store, running_job, "for all")
            taken = [await each.take(timeout_seconds=10) for each in subscriptions]
            assert all(
                b"for all" in frame.data for (frame,) in taken if isinstance(frame, SseEvent)
            )
            assert [len(items) for items in taken] == [1] * 300
            assert len(redis.client_list()) < 10

    asyncio.run(scenario())


def test_one_stream_too_many_is_told_to_come_back(
    settings: ApiSettings, serve: Callable[[FastAPI], str], store: JobStore, running_job: Claim
) -> None:
    app = create_app(settings.model_copy(update={"max_stream_clients": 1}))
    url = url_of(serve(app), running_job)
    with in_background(follow(url)) as seen:
        wait_until(lambda: bool(seen), what="the first stream")
        refused = httpx.get(url, headers={"accept": "text/event-stream"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "too_many_streams"
        assert httpx.get(url).status_code == 200
        store.leases.finish(running_job, SUCCEEDED)
    wait_until(lambda: app.state.services.broadcaster.num_clients == 0, what="the place to be free")
    assert list(follow(url))[-1].event == "end"


def test_a_client_that_leaves_gives_its_place_back(
    app: FastAPI, server_url: str, running_job: Claim
) -> None:
    with closing(follow(url_of(server_url, running_job))) as stream:
        next(stream)
        assert app.state.services.broadcaster.num_clients == 1
    wait_until(
        lambda: app.state.services.broadcaster.num_clients == 0, what="the client to be forgotten"
    )


def test_a_subscription_drops_frames_rather_than_growing_but_never_a_signal() -> None:
    async def scenario() -> None:
        subscription = StreamSubscription()
        for number in range(MAX_WAITING_FRAMES + 5):
            subscription.put(SseEvent(cursor=(number, 0), data=b"x"))
        subscription.put(Signal.ENDED)
        assert await subscription.take(timeout_seconds=1) == (Signal.MISSED, Signal.ENDED)
        assert await subscription.take(timeout_seconds=0.01) == ()
        fresh = SseEvent(cursor=(9999, 0), data=b"y")
        subscription.put(fresh)
        assert await subscription.take(timeout_seconds=1) == (fresh,)

    asyncio.run(scenario())
