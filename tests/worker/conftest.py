"""A workshop on the shared server."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.worker.controller.lost_store import LosableStore
from tests.worker.programs_started import Process, Start
from tests.worker.scenes import environment
from tests.worker.workshop import PROGRAMS, Workshop, open_workshop


@pytest.fixture
def workshop(redis_url: SecretStr, tmp_path: Path) -> Workshop:
    return open_workshop(redis_url, tmp_path)


@pytest.fixture
def service(workshop: Workshop, redis: Redis) -> Iterator[LosableStore]:
    service = LosableStore(workshop, redis)
    yield service
    service.recoverer.close()


@pytest.fixture
def start(workshop: Workshop, tmp_path: Path) -> Iterator[Start]:
    """Starts a program with the workshop's settings; what is left at the end is killed."""
    started: list[Process] = []
    settings = workshop.settings
    variables = {
        f"FLANT5_{name.upper()}": str(getattr(settings, name))
        for name in (
            "home",
            "data_root",
            "worker_name",
            "lease_seconds",
            "self_fence_seconds",
            "redis_timeout_seconds",
            "heartbeat_interval_seconds",
            "progress_poll_seconds",
            "trainer_grace_seconds",
        )
    }
    variables |= {
        "FLANT5_REDIS_URL": settings.redis_url.get_secret_value(),
        "FLANT5_CONTROLLER_INTERVAL_SECONDS": "0.05",
    }
    log = (tmp_path / "processes.log").open("wb")

    def start_program(program: str, **changes: str) -> Process:
        started.append(
            subprocess.Popen(
                [sys.executable, str(PROGRAMS / program)],
                env=environment(**(variables | changes)),
                stdout=log,
                stderr=log,
            )
        )
        return started[-1]

    yield start_program
    for process in started:
        process.kill()
        process.wait()
    log.close()
