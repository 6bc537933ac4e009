"""A controller and a worker as they are run, on servers and by URLs of several forms."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.redis_servers import certificates, server, tls
from tests.worker.programs_started import submit, wait_for_status
from tests.worker.workshop import PROGRAMS, Workshop, open_workshop
from worker.jobs.job import Status
from worker.jobs.store import keys


@contextmanager
def running(workshop: Workshop, *programs: str) -> Iterator[None]:
    settings = workshop.settings
    variables = {
        "FLANT5_HOME": str(settings.home),
        "FLANT5_DATA_ROOT": str(settings.data_root),
        "FLANT5_WORKER_NAME": settings.worker_name,
        "FLANT5_REDIS_URL": settings.redis_url.get_secret_value(),
        "FLANT5_CONTROLLER_INTERVAL_SECONDS": "0.05",
    }
    processes = [
        subprocess.Popen([sys.executable, str(PROGRAMS / name)], env={**os.environ, **variables})
        for name in programs
    ]
    try:
        yield
        assert [process.poll() for process in processes] == [None] * len(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    """A server whose only user is the one of docs/deploy.md."""
    rules = "user flant5 on >pw ~flant5:* +@all -@dangerous +info"
    admin_rules = "user admin on nopass ~* +@all"
    with server(tmp_path / "server", rules, admin_rules, "appendonly yes") as path:
        with Redis(unix_socket_path=str(path), username="admin", password="-") as admin:
            admin.acl_setuser("default", enabled=False)
        yield path


def test_a_job_runs_by_tls_as_a_user_who_may_do_no_more_than_needed(
    socket: Path, tmp_path: Path
) -> None:
    authority = certificates(tmp_path / "certificates")
    with tls(authority, socket) as port:
        url = f"rediss://flant5:pw@127.0.0.1:{port}/3?ssl_ca_certs={authority}/ca.pem&protocol=3"
        run_a_job(url, tmp_path)
    with Redis(unix_socket_path=str(socket), username="admin", password="-", db=3) as admin:
        found = {key.decode() for key in admin.keys("*")}
    assert found
    assert {key for key in found if not key.startswith(keys.PREFIX)} == set()


def test_a_job_runs_by_a_unix_socket(socket: Path, tmp_path: Path) -> None:
    run_a_job(f"unix://flant5:pw@{socket}?db=2&health_check_interval=1", tmp_path)


def run_a_job(url: str, directory: Path) -> None:
    workshop = open_workshop(SecretStr(url), directory)
    with running(workshop, "controller_with_checks.py", "worker_with_trains.py"):
        job = submit(workshop, max_steps=3)
        wait_for_status(workshop, job, Status.SUCCEEDED)
