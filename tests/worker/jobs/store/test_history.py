from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from tests.worker.scenes import claimed_job
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.events import LogLine
from worker.jobs.storage.log_format import format_line
from worker.jobs.storage.paths import Home
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.serialization import NewCheckpoint, NewEvent, NewLogLine, Update
from worker.jobs.store.store import JobStore


@pytest.fixture
def job_id(store: JobStore) -> str:
    """A job with 3 events of its life, 5 more, 7 log lines and 3 checkpoints."""
    claim = claimed_job(store)
    store.leases.record(
        claim,
        Update(
            events=tuple(NewEvent(f"event {number}") for number in range(5)),
            log_lines=tuple(NewLogLine(f"line {number}") for number in range(7)),
            checkpoints=tuple(NewCheckpoint(step, f"c-{step}", {}) for step in (1, 2, 3)),
        ),
    )
    return claim.job.id


def test_events_come_newest_first_page_by_page(history: JobHistory, job_id: str) -> None:
    seen, after = [], None
    while True:
        page = history.events(job_id, after=after, limit=3)
        seen += [event.seq for event in page.items]
        if not page.has_more:
            break
        after = page.items[-1].id
    assert seen == [8, 7, 6, 5, 4, 3, 2, 1]


def test_events_since_a_cursor_come_oldest_first(history: JobHistory, job_id: str) -> None:
    first = history.events_since(job_id, limit=2)
    assert ([event.seq for event in first.items], first.has_more) == ([1, 2], True)
    rest = history.events_since(job_id, after=first.items[-1].id)
    assert ([event.seq for event in rest.items], rest.has_more) == ([3, 4, 5, 6, 7, 8], False)
    assert history.events_since(job_id, after=rest.items[-1].id).items == ()


def test_log_lines_come_oldest_first(history: JobHistory, job_id: str) -> None:
    first = history.logs(job_id, limit=4)
    assert [line.line for line in first.items] == ["line 0", "line 1", "line 2", "line 3"]
    rest = history.logs(job_id, after=first.items[-1].id, limit=4)
    assert ([line.seq for line in rest.items], rest.has_more) == ([5, 6, 7], False)


def test_the_tail_is_the_last_lines_in_order(history: JobHistory, job_id: str) -> None:
    assert [line.line for line in history.logs(job_id, tail=2).items] == ["line 5", "line 6"]
    assert len(history.logs(job_id, tail=100).items) == 7
    with pytest.raises(InvalidRequestError, match="can't be combined"):
        history.logs(job_id, tail=1, after=history.logs(job_id).items[0].id)


def test_checkpoints_come_newest_first(history: JobHistory, job_id: str) -> None:
    page = history.checkpoints(job_id, limit=2)
    assert ([item.step for item in page.items], page.has_more) == ([3, 2], True)
    rest = history.checkpoints(job_id, after=page.items[-1].id, limit=2)
    assert ([item.step for item in rest.items], rest.has_more) == ([1], False)


@pytest.mark.parametrize(
    "cursor", ["", "x", "1764000000000", "-", "+", "$", "1-2-3", "(1-1", "9" * 30 + "-0", "١-١"]
)
def test_a_malformed_cursor_is_refused(history: JobHistory, job_id: str, cursor: str) -> None:
    for read in (history.events, history.events_since, history.logs, history.checkpoints):
        with pytest.raises(InvalidRequestError, match="invalid cursor") as caught:
            read(job_id, after=cursor)
        assert caught.value.param == "after"


def test_a_cursor_that_was_never_given_out_is_refused(history: JobHistory, job_id: str) -> None:
    with pytest.raises(InvalidRequestError, match="no item with id"):
        history.events(job_id, after="9999999999999-0")


def test_a_cursor_whose_entry_was_trimmed_goes_on_with_the_oldest_kept(
    history: JobHistory, job_id: str, redis: Redis
) -> None:
    cursor = history.events_since(job_id, limit=1).items[0].id
    redis.xtrim(keys.events(job_id), maxlen=2, approximate=False)
    assert [event.seq for event in history.events_since(job_id, after=cursor).items] == [7, 8]
    assert history.events(job_id, after=cursor).items == ()


def test_a_job_that_does_not_exist_has_no_history(history: JobHistory) -> None:
    for read in (history.events, history.events_since, history.logs, history.checkpoints):
        with pytest.raises(NotFoundError, match="ftjob-nothing"):
            read("ftjob-nothing")


def test_the_streams_are_bounded(store: JobStore, history: JobHistory, redis: Redis) -> None:
    claim = claimed_job(store)
    lines = tuple(NewLogLine(str(number)) for number in range(3000))
    for _ in range(5):
        store.leases.record(claim, Update(log_lines=lines))
    assert redis.xlen(keys.logs(claim.job.id)) < keys.MAX_ENTRIES + 1000
    assert history.logs(claim.job.id, tail=1).items[0].seq == 15_000


@pytest.fixture
def long_log(store: JobStore, redis: Redis, tmp_path: Path) -> str:
    """A job of 50 lines, the last five of which Redis still has."""
    claim = claimed_job(store)
    log = Home(tmp_path / "home").run_directory(claim.job.id).log
    log.parent.mkdir(parents=True)
    at = datetime(2026, 11, 24, tzinfo=UTC)
    lines, end = [], 0
    for number in range(1, 51):
        text = "größer " * (number % 7) + str(number)
        raw = format_line(text, stream="stderr", at=at)
        end += len(raw)
        lines.append(NewLogLine(text, stream="stderr", at=at.timestamp(), end=end))
        with log.open("ab") as file:
            file.write(raw)
    store.leases.record(claim, Update(log_lines=tuple(lines)))
    redis.xtrim(keys.logs(claim.job.id), maxlen=5, approximate=False)
    return claim.job.id


@pytest.mark.parametrize("limit", [1, 4, 7, 45, 46, 1000])
def test_lines_that_redis_dropped_are_read_from_the_disk(
    history: JobHistory, long_log: str, limit: int
) -> None:
    seen: list[LogLine] = []
    while True:
        page = history.logs(long_log, after=seen[-1].id if seen else None, limit=limit)
        assert 1 <= len(page.items) <= limit
        seen += page.items
        if not page.has_more:
            break
    assert [line.seq for line in seen] == [*range(1, 51)]
    assert all(line.line.endswith(str(line.seq)) for line in seen)
    assert {(line.stream, line.created_at) for line in seen} == {("stderr", 1795478400.0)}


def test_a_line_has_one_id_in_redis_and_on_the_disk(
    history: JobHistory, long_log: str, redis: Redis
) -> None:
    before = {line.seq: line for line in history.logs(long_log, tail=5).items}
    redis.xtrim(keys.logs(long_log), maxlen=1, approximate=False)
    after = {line.seq: line for line in history.logs(long_log, limit=100).items}
    assert all(after[seq] == before[seq] for seq in (46, 47, 48, 49))


def test_a_place_where_no_line_ends_is_no_cursor(history: JobHistory, long_log: str) -> None:
    with pytest.raises(InvalidRequestError, match="no item with id '5-2'"):
        history.logs(long_log, after="5-2")


def test_without_the_file_there_is_what_redis_has(
    history: JobHistory, long_log: str, tmp_path: Path
) -> None:
    Home(tmp_path / "home").run_directory(long_log).log.unlink()
    page = history.logs(long_log)
    assert [line.seq for line in page.items] == [46, 47, 48, 49, 50]
