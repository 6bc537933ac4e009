"""A workshop and another worker."""

import pytest
from redis import Redis

from tests.worker.execution.company import Company
from tests.worker.workshop import Workshop


@pytest.fixture
def company(workshop: Workshop, redis: Redis) -> Company:
    return Company(workshop, redis)
