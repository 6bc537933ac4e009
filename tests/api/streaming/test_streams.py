"""Live streams: a client gets everything once and in order, whenever it comes and goes."""

from collections.abc import Callable
from contextlib import closing
from itertools import islice
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.cli.stack.redis import EmbeddedRedis
from api.settings import ApiSettings
from tests.api.scenes import claim_new_job, follow, make_job, wait_until
from tests.api.stream_scenes import in_background, messages, report, url_of, write
from worker.jobs.events import Event, Page
from worker.jobs.store.history import JobHistory
from worker.jobs.store.serialization import Cancelled, Claim, Succeeded
from worker.jobs.store.store import JobStore

SUCCEEDED = Succeeded("ft:flant5-demo:flant5::abcdefgh")


def test_history_comes_first_then_what_happens_then_the_end(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    report(store, running_job, "one", "two")
    with in_background(follow(url_of(server_url, running_job))) as seen:
        wait_until(lambda: "two" in messages(seen), what="the history")
        report(store, running_job, "three")
        wait_until(lambda: "three" in messages(seen), what="the live event")
        store.leases.finish(running_job, SUCCEEDED)
    assert [sent.seq for sent in seen if sent.event == "message"] == list(range(1, 8))
    assert messages(seen)[3:6] == ["one", "two", "three"]
    assert (seen[-1].event, seen[-1].data) == ("end", {"status": "succeeded"})


def test_events_look_as_in_the_list(server_url: str, store: JobStore, running_job: Claim) -> None:
    store.leases.finish(running_job, Cancelled())
    sent = [sent for sent in follow(url_of(server_url, running_job)) if sent.event == "message"]
    page = httpx.get(url_of(server_url, running_job), params={"limit": 100})
    assert [each.data for each in sent] == page.json()["data"][::-1]
    assert [each.id for each in sent] == [each.data["id"] for each in sent]


def test_a_finished_job_gives_its_history_and_ends(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    store.leases.finish(running_job, Cancelled())
    seen = list(follow(url_of(server_url, running_job)))
    assert messages(seen)[-1] == "Job cancelled"
    assert seen[-1].event == "end"


def test_a_job_cancelled_before_it_ran_ends_its_stream(server_url: str, store: JobStore) -> None:
    job = make_job(store)
    with in_background(follow(f"{server_url}/fine_tuning/jobs/{job.id}/events")) as seen:
        wait_until(lambda: bool(seen), what="the first event")
        store.cancel(job.id)
    assert seen[-1].data == {"status": "cancelled"}


def test_an_event_that_comes_while_the_history_is_read_is_sent_once(
    server_url: str, store: JobStore, running_job: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, num_reads = JobHistory.events_since, 0

    def read_late(self: JobHistory, *args: Any, **kwargs: Any) -> Page[Event]:
        nonlocal num_reads
        num_reads += 1
        if num_reads == 2:  # the first read checks the cursor, before the stream begins
            report(store, running_job, "in both")
        return read(self, *args, **kwargs)

    monkeypatch.setattr(JobHistory, "events_since", read_late)
    with in_background(follow(url_of(server_url, running_job))) as seen:
        wait_until(lambda: "in both" in messages(seen), what="the history")
        report(store, running_job, "later")
        wait_until(lambda: "later" in messages(seen), what="the live event")
        store.leases.finish(running_job, SUCCEEDED)
    assert [sent.seq for sent in seen if sent.event == "message"] == list(range(1, 7))


@pytest.mark.parametrize("with_prefix", [True, False])
def test_a_client_that_reconnects_misses_nothing_and_gets_nothing_twice(
    server_url: str, store: JobStore, running_job: Claim, with_prefix: bool
) -> None:
    report(store, running_job, "one", "two")
    with closing(follow(url_of(server_url, running_job))) as stream:
        before = list(islice(stream, 3))
    report(store, running_job, "while away")
    store.leases.finish(running_job, SUCCEEDED)
    last = str(before[-1].id)
    cursor = last if with_prefix else last.removeprefix("ft-event-")
    after = list(follow(url_of(server_url, running_job), last_event_id=cursor))
    seqs = [sent.seq for sent in (*before, *after) if sent.event == "message"]
    assert seqs == list(range(1, 8))
    by_parameter = list(follow(url_of(server_url, running_job), after=last))
    assert by_parameter == after


def test_log_lines_stream_to_the_last_one(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    write(store, running_job, "first", "{'loss': 3.2}")
    with in_background(follow(url_of(server_url, running_job, "logs"))) as seen:
        wait_until(lambda: len(seen) >= 2, what="the history")
        write(store, running_job, *(f"line {number}" for number in range(2000)))
        store.leases.finish(running_job, SUCCEEDED)
    lines = [sent for sent in seen if sent.event == "message"]
    assert [line.seq for line in lines] == list(range(1, 2003))
    assert lines[-1].data["line"] == "line 1999"
    assert (seen[-1].event, seen[-1].data) == ("end", {"status": "succeeded"})


def test_lines_with_odd_characters_stay_one_line(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    odd = ["data: x", "a\u2028b", "tab\there", "\U0001f600", ""]
    write(store, running_job, *odd)
    store.leases.finish(running_job, SUCCEEDED)
    seen = list(follow(url_of(server_url, running_job, "logs")))
    assert [sent.data["line"] for sent in seen if sent.event == "message"] == odd


def test_a_silent_stream_is_kept_alive_by_comments(
    server_url: str, running_job: Claim, store: JobStore
) -> None:
    with in_background(follow(url_of(server_url, running_job))) as seen:
        wait_until(lambda: [s.event for s in seen].count("comment") >= 2, what="two heartbeats")
        report(store, running_job, "still live")
        wait_until(lambda: "still live" in messages(seen), what="an event after the heartbeats")
        store.leases.finish(running_job, SUCCEEDED)


@pytest.mark.parametrize("cursor", ["nonsense", "1-1-1", "99999999999999-0"])
def test_a_cursor_that_is_none_is_refused_before_the_stream_begins(
    server_url: str, running_job: Claim, cursor: str
) -> None:
    headers = {"accept": "text/event-stream", "last-event-id": cursor}
    response = httpx.get(url_of(server_url, running_job), headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "after"


def test_an_open_stream_survives_a_restart_of_redis(
    tmp_path_factory: pytest.TempPathFactory, serve: Callable[[FastAPI], str]
) -> None:
    directory = tmp_path_factory.mktemp("own-redis")
    with EmbeddedRedis(directory) as server:
        app = create_app(
            ApiSettings(home=directory / "home", redis_url=server.url, sse_keepalive_seconds=60)
        )
        store = JobStore(app.state.services.redis)
        claim = claim_new_job(store)
        with in_background(follow(url_of(serve(app), claim))) as seen:
            wait_until(lambda: len(messages(seen)) >= 3, what="the history")
            server.stop()
            server.start()
            report(store, claim, "after the restart")
            wait_until(lambda: "after the restart" in messages(seen), what="the live event")
            store.leases.finish(claim, SUCCEEDED)
    assert seen[-1].event == "end"
