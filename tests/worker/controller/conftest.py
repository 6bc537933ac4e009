"""An attic in a directory of the test."""

from pathlib import Path

import pytest
from redis import Redis

from tests.worker.controller.attic import Attic
from worker.jobs.store.store import JobStore


@pytest.fixture
def attic(store: JobStore, redis: Redis, tmp_path: Path) -> Attic:
    return Attic(store, redis, tmp_path / "home")
