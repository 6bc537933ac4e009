"""A real server, set up well and badly."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from api.cli.doctor.check import Finding, State
from api.cli.doctor.redis import check_redis
from api.cli.stack.redis import EmbeddedRedis
from tests.ports import free_port
from worker.jobs.store.redis import open_redis

PASSWORD = "s3cret"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """One that a test may set up as badly as it likes."""
    with EmbeddedRedis(tmp_path / "redis", password=SecretStr(PASSWORD)) as server:
        yield server


@pytest.fixture
def admin(server: EmbeddedRedis) -> Iterator[Redis]:
    with open_redis(server.url) as redis:
        yield redis


def seen(url: SecretStr | str) -> Finding:
    finding = check_redis(SecretStr(str(url)) if isinstance(url, str) else url, is_chosen=True)
    assert PASSWORD not in f"{finding.found}{finding.remedy}{finding.expected}"
    return finding


def test_a_server_that_is_set_up_well_is_fine(server: EmbeddedRedis) -> None:
    finding = seen(server.url)
    assert finding.state is State.OK
    assert finding.found.startswith("Valkey ")


def test_what_could_lose_jobs_is_told_with_the_command_that_mends_it(
    server: EmbeddedRedis, admin: Redis
) -> None:
    admin.config_set("maxmemory", 2**30)
    admin.config_set("maxmemory-policy", "allkeys-lru")
    admin.config_set("appendonly", "no")
    for may_lose_data, state in ((False, State.FAILED), (True, State.WARNING)):
        finding = check_redis(server.url, is_chosen=True, may_lose_data=may_lose_data)
        assert finding.state is state
    finding = seen(server.url)
    assert "no append-only file, it evicts keys (allkeys-lru)" in finding.found
    assert "CONFIG SET appendonly yes" in finding.remedy
    assert "CONFIG SET maxmemory-policy noeviction" in finding.remedy


def test_a_server_that_evicts_keys_that_expire_is_told_what_goes(
    server: EmbeddedRedis, admin: Redis
) -> None:
    admin.config_set("maxmemory-policy", "volatile-lru")
    assert seen(server.url).state is State.OK
    admin.config_set("maxmemory", 2**30)
    finding = seen(server.url)
    assert finding.state is State.WARNING
    assert "evicts idempotency keys, worker entries and chats (volatile-lru)" in finding.found


def test_a_wrong_password_has_failed_and_is_not_shown(server: EmbeddedRedis) -> None:
    for wrong in ("", ":not-it@"):
        url = server.url.get_secret_value().replace(f":{PASSWORD}@", wrong)
        finding = seen(url)
        assert finding.state is State.FAILED
        assert "refuses the login" in finding.found
        assert "FLANT5_REDIS_PASSWORD_FILE" in finding.remedy
        assert "not-it" not in finding.found


def test_a_user_who_may_not_see_the_set_up_has_failed(server: EmbeddedRedis, admin: Redis) -> None:
    admin.acl_setuser(
        "flant5",
        enabled=True,
        passwords=["+pw"],
        keys=["*"],
        categories=["+@all"],
        commands=["-info"],
    )
    url = server.url.get_secret_value().replace(f":{PASSWORD}@", "flant5:pw@")
    finding = seen(url)
    assert finding.state is State.FAILED
    assert "is not allowed to run INFO" in finding.found
    assert "+info" in finding.remedy


def test_a_server_that_takes_no_writes_has_failed(server: EmbeddedRedis, admin: Redis) -> None:
    admin.replicaof("127.0.0.1", free_port())
    finding = seen(server.url)
    assert finding.state is State.FAILED
    assert "takes no writes" in finding.found


def test_a_server_that_is_nearly_full_is_told(server: EmbeddedRedis, admin: Redis) -> None:
    for number in range(40):
        admin.set(f"ballast-{number}", bytes(2**20))
    used = int(admin.info("memory")["used_memory"])
    admin.config_set("maxmemory", int(used * 1.05))
    finding = seen(server.url)
    assert finding.state is State.WARNING
    assert " MiB used" in finding.found
    admin.config_set("maxmemory", used // 2)
    full = seen(server.url)
    assert (full.state, "rejects writes" in full.found) == (State.FAILED, True)


def test_nobody_at_an_address_that_was_set_has_failed_and_at_the_default_one_is_usual() -> None:
    url = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    finding = check_redis(url, is_chosen=True)
    assert (finding.state, "does not respond" in finding.found) == (State.FAILED, True)
    assert check_redis(url, is_chosen=False).state is State.NOT_APPLICABLE


def test_a_server_that_says_nothing_has_failed_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        finding = seen(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
    assert (finding.state, "does not respond" in finding.found) == (State.FAILED, True)


def test_a_server_on_a_network_needs_a_password(redis_url: SecretStr) -> None:
    assert check_redis(redis_url, is_chosen=True).state is State.OK
    # The same server by a name that is not known to be of this machine alone.
    named = redis_url.get_secret_value().replace("127.0.0.1", "127.1")
    finding = seen(named)
    assert (finding.state, "no password" in finding.found) == (State.WARNING, True)
