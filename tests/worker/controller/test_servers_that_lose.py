"""Real servers that lose what they have acknowledged: refused at the start, or mended."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from api.cli.stack.redis import EmbeddedRedis
from tests.worker.controller.lost_store import LosableStore
from tests.worker.controller.rolled_back import WatchedStore
from tests.worker.scenes import wait_until
from tests.worker.workshop import open_workshop
from worker.jobs.errors import StartRefusedError
from worker.jobs.job import Status
from worker.jobs.startup.start_check import check_start
from worker.jobs.store.redis import open_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def watched(server: EmbeddedRedis, tmp_path: Path) -> Iterator[WatchedStore]:
    with open_redis(server.url) as redis:
        watched = WatchedStore(LosableStore(open_workshop(server.url, tmp_path), redis))
        yield watched
        watched.watch.close()
        watched.service.recoverer.close()


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("maxmemory-policy", "allkeys-lru", "it evicts keys (allkeys-lru)"),
        ("maxmemory-policy", "allkeys-random", "it evicts keys (allkeys-random)"),
        ("appendonly", "no", "no append-only file"),
    ],
)
def test_a_server_that_may_lose_jobs_is_refused_unless_that_is_allowed(
    server: EmbeddedRedis, tmp_path: Path, name: str, value: str, found: str
) -> None:
    home = open_workshop(server.url, tmp_path).settings.home_directories
    check_start(server.url, home, use="writes")
    _set(server.url, "maxmemory", str(2**30))
    _set(server.url, name, value)
    with pytest.raises(StartRefusedError) as error:
        check_start(server.url, home, use="writes")
    assert found in str(error.value)
    assert f"CONFIG SET {name} " in str(error.value)
    assert "FLANT5_ALLOW_LOSSY_REDIS" in str(error.value)
    check_start(server.url, home, use="writes", may_lose_data=True)


def test_a_server_that_evicts_no_job_is_not_refused(server: EmbeddedRedis, tmp_path: Path) -> None:
    home = open_workshop(server.url, tmp_path).settings.home_directories
    for maxmemory, policy in (
        ("0", "allkeys-lru"),
        ("0", "volatile-lru"),
        (str(2**30), "volatile-ttl"),
        (str(2**30), "volatile-lru"),
    ):
        _set(server.url, "maxmemory", maxmemory)
        _set(server.url, "maxmemory-policy", policy)
        check_start(server.url, home, use="writes")


def test_evicted_jobs_are_reported_and_come_back_when_there_is_room(
    server: EmbeddedRedis, watched: WatchedStore
) -> None:
    service = watched.service
    watched.round()
    used = int(service.redis.info("memory")["used_memory"])
    _set(server.url, "maxmemory", str(used + 1_000_000))
    _set(server.url, "maxmemory-policy", "allkeys-lru")
    jobs = [service.create() for _ in range(20)]
    # Until some are lost: a store that lost most of its jobs counts as another one.
    while not service.store.unknown([job.id for job in jobs]):
        assert len(jobs) < 500
        jobs += [service.create() for _ in range(20)]
    loss = watched.noticed()
    assert "evicted" in loss.cause
    assert loss.num_missing > 0
    _set(server.url, "maxmemory", "0")
    watched.watch.close()
    # A new controller: the first one waits a minute between two recoveries of a server that evicts,
    # and that server may have evicted the request for the first one, too.
    again = WatchedStore(service)
    ids = {job.id for job in jobs}

    def are_back() -> bool:
        again.round()
        if service.store.unknown(tuple(ids)):
            return False
        return {job.id for job in service.store.list(after=None, limit=500).items} == ids

    wait_until(are_back, what="the evicted jobs")
    again.watch.close()


def test_a_server_that_came_back_with_an_older_state_is_brought_up_to_the_disk(
    server: EmbeddedRedis, watched: WatchedStore, tmp_path: Path
) -> None:
    service = watched.service
    kept, cancelled = service.queued(), service.queued()
    watched.round()
    shutil.copytree(tmp_path / "redis", tmp_path / "older")
    done = service.workshop.run(kept.id)
    service.cancelled(cancelled)
    new = service.create()
    watched.round()
    server.kill()
    shutil.rmtree(tmp_path / "redis")
    shutil.copytree(tmp_path / "older", tmp_path / "redis")
    server.start()
    loss = watched.noticed()
    assert set(loss.jobs) == {kept.id, cancelled.id, new.id}
    assert "restarted or replaced" in loss.cause or "went back" in loss.cause
    watched.recovered()
    assert service.store.get(kept.id).fine_tuned_model == done.fine_tuned_model
    assert service.store.get(cancelled.id).status is Status.CANCELLED
    assert service.store.get(new.id).number == new.number


def _set(url: SecretStr, name: str, value: str) -> None:
    with Redis.from_url(url.get_secret_value()) as admin:
        admin.config_set(name, value)
