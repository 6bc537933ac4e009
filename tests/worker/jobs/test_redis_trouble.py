"""What callers see when the server is gone, full, or was restarted. Each test has its own."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis, exceptions

from api.cli.stack.redis import EmbeddedRedis
from tests.worker.scenes import LEASE_SECONDS, claim_again, claimed_job, spec, wait_until
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.job import Status
from worker.jobs.startup.server_check import check_server
from worker.jobs.storage.paths import Home
from worker.jobs.store.history import JobHistory
from worker.jobs.store.notify import JobNotifier, num_notifications
from worker.jobs.store.redis import is_transient, open_redis
from worker.jobs.store.serialization import HeartbeatDirective, NewLogLine, Succeeded, Update
from worker.jobs.store.store import JobStore


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis", password=SecretStr("s3cret")) as server:
        yield server


def test_a_server_that_is_gone_is_unavailable_and_comes_back(server: EmbeddedRedis) -> None:
    with open_redis(server.url) as redis:
        store, history = JobStore(redis), JobHistory(redis, Home(Path("nowhere")))
        claim = claimed_job(store)
        server.kill()
        for call in (
            lambda: store.create(spec()),
            lambda: store.get(claim.job.id),
            lambda: store.list(after=None, limit=1),
            lambda: store.leases.heartbeat(claim, 1),
            lambda: store.models.all(),
            lambda: history.events(claim.job.id),
            lambda: num_notifications(redis),
        ):
            with pytest.raises(StoreUnavailableError, match="Redis is not available"):
                call()
        server.start()
        assert store.leases.heartbeat(claim, LEASE_SECONDS) is HeartbeatDirective.GO_ON
        assert store.leases.finish(claim, Succeeded("ft:x"))


def test_nothing_that_was_answered_is_lost_by_a_kill(server: EmbeddedRedis) -> None:
    with open_redis(server.url) as redis:
        store = JobStore(redis)
        ids = [store.create(spec()).id for _ in range(5)]
        claim = claimed_job(store)
        server.kill()
        server.start()
        assert {store.get(job_id).status for job_id in ids} == {Status.VALIDATING_FILES}
        assert store.get(claim.job.id).status is Status.RUNNING


def test_a_server_that_hangs_is_unavailable_within_seconds(server: EmbeddedRedis) -> None:
    notifier = JobNotifier(server.url)
    with open_redis(server.url, timeout_seconds=0.3) as redis:
        store = JobStore(redis)
        store.create(spec())
        assert notifier.notify("ftjob-1")
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailableError, match="Timeout"):
                store.create(spec())
            assert not notifier.notify("ftjob-2")
        finally:
            server.process.send_signal(signal.SIGCONT)
    notifier.close()


def test_jobs_on_a_full_server_can_go_on_and_end(server: EmbeddedRedis) -> None:
    with open_redis(server.url) as redis:
        store = JobStore(redis)
        ending, released, lost = (claimed_job(store) for _ in range(3))
        redis.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailableError):
            store.create(spec())
        with pytest.raises(StoreUnavailableError):
            store.leases.record(ending, Update(log_lines=(NewLogLine("x"),)))
        assert store.leases.heartbeat(ending, LEASE_SECONDS) is HeartbeatDirective.GO_ON
        assert store.cancel(ending.job.id).cancel_requested
        assert store.leases.finish(ending, Succeeded("ft:x"))
        assert store.leases.release(released, reason="x") is Status.QUEUED
        assert store.leases.release_worker("gpu-0") == (lost.job.id,)
        redis.config_set("maxmemory", 0)
        claim_again(store, released.job.id)


def test_a_wrong_password_is_unavailable(server: EmbeddedRedis) -> None:
    wrong = SecretStr(server.url.get_secret_value().replace("s3cret", "guess"))
    with open_redis(wrong) as redis, pytest.raises(StoreUnavailableError, match="password"):
        JobStore(redis).get("ftjob-1")


def test_a_doorbell_without_a_server_is_not_rung_and_is_no_error(
    server: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    server.kill()
    notifier = JobNotifier(server.url)
    assert not notifier.notify("ftjob-1")
    assert "job ftjob-1: cannot send the wake-up message" in caplog.text
    assert "s3cret" not in caplog.text
    server.start()
    assert notifier.notify("ftjob-1")
    with open_redis(server.url) as redis:
        assert num_notifications(redis) == 1
    notifier.close()


@contextmanager
def short_of_replicas(server: EmbeddedRedis) -> Iterator[None]:
    with open_redis(server.url) as admin:
        admin.config_set("min-replicas-to-write", 1)
        yield
        admin.config_set("min-replicas-to-write", 0)


@contextmanager
def busy(server: EmbeddedRedis) -> Iterator[None]:
    """A script runs, and is killed at the end."""
    with open_redis(server.url) as admin:
        admin.config_set("busy-reply-threshold", 1)
        with connected(admin) as loop:
            loop.sendall(b"AUTH s3cret\r\nEVAL 'while true do end' 0\r\n")
            wait_until(lambda: is_busy(admin))
            yield
            admin.script_kill()
            wait_until(lambda: not is_busy(admin))


def connected(admin: Redis) -> socket.socket:
    place = admin.connection_pool.connection_kwargs
    if "path" not in place:
        return socket.create_connection((place["host"], place["port"]))
    unix = socket.socket(socket.AF_UNIX)
    unix.connect(str(place["path"]))
    return unix


def is_busy(admin: Redis) -> bool:
    try:
        return not admin.ping()
    except exceptions.ResponseError as error:
        return str(error).startswith("BUSY")


@pytest.mark.parametrize(("trouble", "word"), [(short_of_replicas, "NOREPLICAS"), (busy, "BUSY")])
def test_what_a_server_refuses_only_for_now_is_unavailable_and_waited_for(
    server: EmbeddedRedis,
    trouble: Callable[[EmbeddedRedis], AbstractContextManager[None]],
    word: str,
) -> None:
    with open_redis(server.url) as redis:
        store = JobStore(redis)
        job = store.create(spec())
        with trouble(server):
            for step in (
                lambda: store.cancel(job.id),
                lambda: store.create(spec()),
                lambda: check_server(server.url),
            ):
                with pytest.raises(StoreUnavailableError, match=f"{word} "):
                    step()
        assert store.get(job.id) == job
        check_server(server.url)


def test_refusals_that_pass_are_told_from_those_that_stay() -> None:
    in_a_pipeline = "Command # 2 (SET a b) of pipeline caused error: "
    for before in ("", in_a_pipeline):
        for passing in ("MISCONF Redis is configured to", "LOADING Redis is", "NOREPLICAS Not"):
            assert is_transient(exceptions.ResponseError(before + passing))
        for staying in ("BUSYGROUP Consumer Group name", "WRONGTYPE Operation", "unknown command"):
            assert not is_transient(exceptions.ResponseError(before + staying))
