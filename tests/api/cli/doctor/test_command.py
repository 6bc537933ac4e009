"""`flant5 doctor` as a whole, on a host that is well and on one that is not."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from api.auth import hash_of
from tests.api.cli.doctor.programs import SMI, container, put, put_docker
from tests.api.cli_runs import flant5
from tests.ports import free_port
from worker.daemon import DaemonPresence
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.redis import Scripts
from worker.jobs.store.workers import WorkerRegistry, WorkerState

NAMES = [
    *("docker engine", "docker compose", "docker disk", "GPUs", "GPU driver", "container toolkit"),
    *("shared memory", "secrets", "containers", "settings", "host name", "home"),
    *("temporary files", "port", "API keys", "redis", "data of redis", "service"),
    *("workers", "controller", "serving process", "webhooks", "integrations"),
]


@pytest.fixture
def host(tmp_path: Path, programs: Path, redis: Redis, redis_url: SecretStr) -> dict[str, str]:
    """A GPU host that is well; the settings of its service."""
    containers = [container(name) for name in ("redis", "api", "controller", "worker")]
    put_docker(
        programs,
        containers="\n".join(map(json.dumps, containers)),
        Runtimes={"nvidia": {}},
    )
    put(programs, "nvidia-smi", SMI)
    WorkerRegistry(Scripts(redis, QueuePolicy())).register(
        WorkerState(name="gpu-1", devices=("GPU-1",)), seconds=600
    )
    DaemonPresence(redis).register()
    keys = tmp_path / "keys"
    keys.write_text(f"alice:{hash_of('f5-key')}\n")
    keys.chmod(0o600)
    return {
        "home": str(tmp_path / "home"),
        "port": str(free_port()),
        "redis_url": redis_url.get_secret_value(),
        "api_keys_file": str(keys),
    }


def test_a_host_that_is_well_ends_with_0(host: dict[str, str], tmp_path: Path) -> None:
    run = flant5("doctor", "--json", "--directory", tmp_path, **host)
    assert (run.code, run.err) == (0, "")
    states = {check["name"]: check["state"] for check in run.document["checks"]}
    assert run.document["status"] == "ok"
    assert list(states) == NAMES
    for name in ("docker engine", "docker compose", "GPUs", "container toolkit", "settings"):
        assert states[name] == "ok"
    for name in ("port", "API keys", "redis", "workers", "controller"):
        assert states[name] == "ok"
    assert (states["secrets"], states["webhooks"]) == ("not applicable", "not applicable")


def test_what_failed_is_shown_with_the_way_out_and_ends_with_1(
    host: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "docker-compose.yml").touch()
    run = flant5("doctor", "--directory", tmp_path, **host | {"redis_url": "redis://127.0.0.1:1"})
    assert (run.code, run.err) == (1, "")
    table, _, problems = run.out.partition("\n\n")
    assert table.splitlines()[0].split() == ["CHECK", "STATE", "FOUND"]
    assert len(table.splitlines()) == 1 + len(NAMES)
    assert f"secrets: failed\n  found     {tmp_path / 'secrets'} is missing" in problems
    assert "  fix       make secrets\n" in problems
    assert "redis: failed\n  found     127.0.0.1:1 does not respond" in problems
    assert "a Redis or Valkey server at FLANT5_REDIS_URL" in problems


def test_wrong_settings_are_one_check_and_show_no_password(
    host: dict[str, str], tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("hidden")
    wrong = {
        "redis_url": "redis://:s3cret@127.0.0.1:6379/0",
        "redis_password_file": str(password),
        "port": "http",
    }
    run = flant5("doctor", "--json", "--directory", tmp_path, **host | wrong)
    assert run.code == 1
    checks = {check["name"]: check for check in run.document["checks"]}
    assert checks["settings"]["state"] == "failed"
    assert "redis" not in checks
    assert "FLANT5_REDIS_PASSWORD_FILE" in checks["settings"]["found"]
    assert "s3cret" not in run.out
    assert "hidden" not in run.out


def test_a_setting_that_can_not_be_is_named(host: dict[str, str], tmp_path: Path) -> None:
    run = flant5("doctor", "--json", "--directory", tmp_path, **host | {"port": "http"})
    found = {check["name"]: check["found"] for check in run.document["checks"]}["settings"]
    assert found.startswith("FLANT5_PORT Input should be a valid integer")
