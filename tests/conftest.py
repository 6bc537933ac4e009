"""Fixtures that more than one test folder uses: a real Valkey server, empty for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from api.cli.stack.redis import EmbeddedRedis
from worker.jobs.storage.paths import Home
from worker.jobs.store.history import JobHistory
from worker.jobs.store.redis import open_redis
from worker.jobs.store.store import JobStore


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One server for the whole run; take `redis` or `redis_url` to find it empty."""
    with EmbeddedRedis(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis(valkey_server: EmbeddedRedis) -> Iterator[Redis]:
    with open_redis(valkey_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_url(valkey_server: EmbeddedRedis, redis: Redis) -> SecretStr:
    return valkey_server.url


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


@pytest.fixture
def history(redis: Redis, tmp_path: Path) -> JobHistory:
    return JobHistory(redis, Home(tmp_path / "home"))
