"""What can't work is refused at the start of each process, by one line and exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.worker.scenes import environment
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.redis import Scripts
from worker.jobs.store.workers import WorkerRegistry, WorkerState
from worker.presence import check_worker_name_is_free

PROCESSES = (
    "api",
    "worker",
    "worker.controller",
    "worker.serving",
    "worker.webhooks",
    "worker.integrations",
)
FILES = {"worker.webhooks": "WEBHOOKS_FILE", "worker.integrations": "INTEGRATIONS_FILE"}


def refusal(module: str, home: Path, url: str) -> str:
    """What the process wrote before it ended."""
    file = home.parent / "operators.toml"
    file.touch()
    variables = {"FLANT5_HOME": str(home), "FLANT5_REDIS_URL": url, "FLANT5_SLOTS": "cpu-0"}
    variables |= {f"FLANT5_{FILES[module]}": str(file)} if module in FILES else {}
    ended = subprocess.run(
        [sys.executable, "-m", module],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize("module", PROCESSES)
def test_a_url_that_can_not_be_is_refused_without_its_password(module: str, tmp_path: Path) -> None:
    line = refusal(module, tmp_path / "home", "sentinel://:secret@h:26379/0")
    assert "FLANT5_REDIS_URL: sentinel:// is not supported" in line
    assert "secret" not in line


@pytest.mark.parametrize("module", PROCESSES)
def test_the_store_of_another_service_is_refused(
    module: str, tmp_path: Path, redis: Redis, redis_url: SecretStr
) -> None:
    redis.set(keys.SERVICE, "service-of-others")
    home = tmp_path / "home"
    (home / "service").mkdir(parents=True)
    (home / "service" / "id").write_text("service-of-ours\n")
    line = refusal(module, home, redis_url.get_secret_value())
    assert "belongs to service service-of-others" in line
    assert f"{home} belongs to service service-of-ours" in line


def test_a_second_worker_of_one_name_is_refused_also_on_another_host(
    tmp_path: Path, redis: Redis, redis_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its lock in HOME is not seen here, as on NFS with local locks.
    twin = WorkerState(name="gpu", devices=("cpu-0",), machine="the boot of another host")
    WorkerRegistry(Scripts(redis, QueuePolicy())).register(twin, seconds=600)
    monkeypatch.setenv("FLANT5_WORKER_NAME", "gpu")
    monkeypatch.setenv("FLANT5_WORKER_TTL_SECONDS", "0.1")
    line = refusal("worker", tmp_path / "home", redis_url.get_secret_value())
    assert "a worker named 'gpu' is alive on another host (cpu-0, idle)" in line
    assert "FLANT5_WORKER_NAME" in line


def test_a_worker_that_was_killed_on_another_host_is_waited_for(redis: Redis) -> None:
    registry = WorkerRegistry(Scripts(redis, QueuePolicy()))
    registry.register(WorkerState(name="gpu", devices=("cpu-0",), machine="other"), seconds=0.5)
    mine = WorkerState(name="gpu", devices=(), machine="mine")
    check_worker_name_is_free(registry, mine, seconds=30)
    registry.register(WorkerState(name="gpu", devices=("cpu-0",), machine="mine"), seconds=600)
    check_worker_name_is_free(registry, mine, seconds=0)


@pytest.mark.parametrize("module", PROCESSES)
def test_a_server_that_can_not_work_is_refused(
    module: str, tmp_path: Path, redis_url: SecretStr
) -> None:
    url = redis_url.get_secret_value().removesuffix("/0") + "/4711"
    assert "has no database 4711" in refusal(module, tmp_path / "home", url)
