"""A workshop on the shared server."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.worker.workshop import Workshop, open_workshop


@pytest.fixture
def workshop(redis_url: SecretStr, tmp_path: Path) -> Workshop:
    return open_workshop(redis_url, tmp_path)
