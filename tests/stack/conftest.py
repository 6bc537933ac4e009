"""The whole service with the real trainer, as a user starts it."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stack.service import FLANT5, Service, processes_with, wait_until

QUICK = {
    # A lost lease is taken back within seconds instead of two minutes.
    "FLANT5_LEASE_SECONDS": "8",
    "FLANT5_SELF_FENCE_SECONDS": "2",
    "FLANT5_HEARTBEAT_INTERVAL_SECONDS": "0.5",
    "FLANT5_REDIS_TIMEOUT_SECONDS": "0.5",
    "FLANT5_TRAINER_GRACE_SECONDS": "20",
    "HF_HUB_OFFLINE": "1",
    # More threads than one are slower wherever other processes work as well.
    "OMP_NUM_THREADS": "1",
}


ODD_HOME = "run 10:30 'q\"o' %s{}$HOME;ü日本 #?&*[a]\\"
"""A legal name, in which nearly every program of the service would find something to misread."""

STOP_SECONDS = 50
"""The trainer's grace, and what `flant5 up` waits for its worker on top of it."""


@contextmanager
def running(home: Path) -> Iterator[Service]:
    """`flant5 up` in the foreground; a SIGTERM ends it, and nothing of it stays behind."""
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [FLANT5, "up", "--home", str(home), "--port", "0"],
            env=os.environ | QUICK,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            ready = home / "up.json"
            wait_until(lambda: ready.exists() or process.poll() is not None)
            assert process.poll() is None, (home / "up.log").read_text()
            yield Service(home, json.loads(ready.read_text())["url"])
        finally:
            process.terminate()
            exit_code = process.wait(timeout=STOP_SECONDS)
    assert exit_code == 0, (home / "up.log").read_text()
    assert not processes_with(str(home))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("service") / ODD_HOME
    home.mkdir()
    with running(home) as service:
        yield service
