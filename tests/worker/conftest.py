"""A workshop on the shared server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.worker.keeper.lost_store import LosableStore
from tests.worker.workshop import Workshop, open_workshop


@pytest.fixture
def workshop(redis_url: SecretStr, tmp_path: Path) -> Workshop:
    return open_workshop(redis_url, tmp_path)


@pytest.fixture
def service(workshop: Workshop, redis: Redis) -> Iterator[LosableStore]:
    service = LosableStore(workshop, redis)
    yield service
    service.recoverer.close()
