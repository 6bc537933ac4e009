"""The whole service goes down, or its store is lost: what was acknowledged comes back."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.stack.conftest import running
from tests.stack.service import EXAMPLES, FLANT5, Service, processes_with, wait_until

pytestmark = pytest.mark.stack

SETTINGS = {
    "per_device_train_batch_size": 2,
    "model_max_length": 64,
    "learning_rate": 1e-3,
}


def test_a_stopped_service_saves_its_job_and_the_next_one_goes_on_there(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        file_id = service.upload(EXAMPLES)
        job_id = service.submit(file_id, max_steps=60, save_steps=1000, **SETTINGS)
        waiting_id = service.submit(file_id, max_steps=1, **SETTINGS)
        wait_until(lambda: service.is_beyond(job_id, 5), seconds=120)
    # All of it is down now: `running` has seen to that.
    stopped = [record.step for record in service.records(job_id) if record.type == "stopped"]
    assert len(stopped) == 1
    with running(tmp_path) as again:
        assert again.ended(job_id)["status"] == "succeeded"
        assert again.starts(job_id) == [0, stopped[0]]
        assert again.ended(waiting_id)["status"] == "succeeded"


def test_a_store_that_was_wiped_is_recovered_and_the_running_job_goes_on(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        file_id = service.upload(EXAMPLES)
        finished = service.ended(service.submit(file_id, max_steps=2, **SETTINGS))
        assert finished["status"] == "succeeded"
        running_id = service.submit(file_id, max_steps=60, save_steps=5, **SETTINGS)
        wait_until(lambda: service.is_beyond(running_id, 10), seconds=120)
        before = service.processes_of(running_id)
        redis_of(tmp_path).flushall()
        wait_until(lambda: not any(process.is_running for process in before), seconds=10)
        recovery = recover(service)
        assert recovery["status"] == "done"
        assert {job["id"] for job in recovery["restored"]} == {finished["id"], running_id}
        assert recovery["problems"] == []
        assert lasting(service.job(finished["id"])) == lasting(finished)
        assert service.ended(running_id)["status"] == "succeeded"
        first, second = service.starts(running_id)
        assert first == 0
        assert second >= 10, "goes on from the newest complete checkpoint"


def lasting(job: dict[str, Any]) -> dict[str, Any]:
    """Without the worker's last sign of life, which was in the store alone."""
    progress = {**job["progress"], "last_heartbeat_at": None}
    return {**job, "run_seconds": None, "progress": progress}


def redis_of(home: Path) -> Redis:
    """The embedded server; its password is known to its users alone."""
    controller = next(
        each for each in processes_with("worker.controller") if home_of(each.pid) == home
    )
    client: Redis = Redis.from_url(environment_of(controller.pid)["FLANT5_REDIS_URL"])
    return client


def home_of(pid: int) -> Path:
    return Path(environment_of(pid).get("FLANT5_HOME", ""))


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def recover(service: Service) -> dict[str, Any]:
    done = subprocess.run(
        [FLANT5, "recover", "--json"],
        env=os.environ | {"FLANT5_URL": service.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    recovery: dict[str, Any] = json.loads(done.stdout)
    return recovery
