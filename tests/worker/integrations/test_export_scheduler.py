"""The real process with the accounts, against a server that plays MLflow: jobs are told of, and
nothing a tracker does touches them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.worker.integrations.fake_mlflow import FakeMlflow, playing_mlflow
from tests.worker.integrations.runs import INTERRUPTED, step, write
from tests.worker.scenes import claimed_job, environment, wait_until
from worker.jobs.rules import QueuePolicy
from worker.jobs.storage.paths import Home
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.outbox import ExportOutbox, IntegrationRegistry, count_exports
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Cancelled, Claim
from worker.jobs.store.store import JobStore

INTEGRATIONS = [{"type": "mlflow", "mlflow": {"experiment": "chats"}}]
PASSWORD = "sesame-open"
STEPS = [1, 2, 3, 4, 5, 6]


class Shipping:
    """A file with an account, a job that runs, and shippers."""

    def __init__(self, directory: Path, redis: Redis, redis_url: SecretStr) -> None:
        self.redis = redis
        self.store = JobStore(redis)
        self.home = Home((directory / "home").resolve())
        self.file = directory / "integrations.toml"
        self.log = directory / "shipper.log"
        self._environment = environment(
            FLANT5_HOME=str(self.home.root),
            FLANT5_REDIS_URL=redis_url.get_secret_value(),
            FLANT5_INTEGRATIONS_FILE=str(self.file),
            FLANT5_INTEGRATION_RETRY_SECONDS="0.05",
        )
        self.processes: list[subprocess.Popen[bytes]] = []

    def set_up(self, fake: FakeMlflow) -> None:
        self.file.write_text(
            f'[mlflow]\ntracking_uri = "{fake.url}"\nusername = "u"\npassword = "{PASSWORD}"\n'
        )

    def start(self, **changes: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "worker.integrations"]
            env = self._environment | changes
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def job(self) -> Claim:
        return claimed_job(self.store, integrations=INTEGRATIONS)

    def progress(self, claim: Claim) -> Path:
        return self.home.run_directory(claim.job.id).progress

    def ends(self, claim: Claim) -> None:
        self.store.cancel(claim.job.id)
        assert self.store.leases.finish(claim, Cancelled())

    def all_is_told(self) -> bool:
        return count_exports(self.redis).num_waiting == 0

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(timeout=60)


@pytest.fixture
def shipping(tmp_path: Path, redis: Redis, redis_url: SecretStr) -> Iterator[Shipping]:
    shipping = Shipping(tmp_path, redis, redis_url)
    try:
        yield shipping
    finally:
        shipping.close()


@pytest.fixture
def mlflow(shipping: Shipping) -> Iterator[FakeMlflow]:
    with playing_mlflow(FakeMlflow()) as fake:
        shipping.set_up(fake)
        yield fake


def wait(condition: object, *, of: Shipping, what: str) -> None:
    assert callable(condition)
    said = of.log.read_text() if of.log.exists() else ""
    wait_until(condition, seconds=90, what=f"{what}\n{said}")


def events(shipping: Shipping, claim: Claim) -> list[str]:
    history = JobHistory(shipping.redis, shipping.home)
    return [each.message for each in history.events_since(claim.job.id).items]


def test_a_run_is_told_as_it_grows_and_to_its_end(shipping: Shipping, mlflow: FakeMlflow) -> None:
    process = shipping.start()
    wait(lambda: shipping.redis.exists(keys.INTEGRATIONS), of=shipping, what="the offer")
    assert IntegrationRegistry(Scripts(shipping.redis, QueuePolicy())).allowed_for("anybody") == (
        "mlflow",
    )
    claim = shipping.job()
    write(shipping.progress(claim), step(1), step(2))
    wait(lambda: mlflow.steps == [1], of=shipping, what="the first step")
    assert mlflow.end == "RUNNING"
    write(shipping.progress(claim), *map(step, range(3, 7)))
    shipping.ends(claim)
    wait(shipping.all_is_told, of=shipping, what="the end")
    assert mlflow.steps == STEPS
    assert (mlflow.end, len(mlflow.runs)) == ("KILLED", 1)
    url = f"MLflow: {mlflow.url}/#/experiments/1/runs/run-1"
    assert events(shipping, claim).count(url) == 1
    assert None not in mlflow.authorizations
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert PASSWORD not in shipping.log.read_text()
    for key in shipping.redis.keys("*"):
        assert PASSWORD not in str(shipping.redis.dump(key))


def test_a_tracker_that_is_down_is_asked_again_and_the_job_goes_on(
    shipping: Shipping, mlflow: FakeMlflow
) -> None:
    mlflow.status = 503
    shipping.start()
    claim = shipping.job()
    write(shipping.progress(claim), *INTERRUPTED)
    wait(
        lambda: count_exports(shipping.redis).num_tries["failed"] >= 2,
        of=shipping,
        what="failures",
    )
    shipping.ends(claim)
    mlflow.status = 200
    wait(shipping.all_is_told, of=shipping, what="the end")
    assert mlflow.steps == STEPS
    assert count_exports(shipping.redis).num_tries["given_up"] == 0


def test_a_tracker_that_stays_down_is_given_up_with_an_event(
    shipping: Shipping, mlflow: FakeMlflow
) -> None:
    mlflow.status = 403
    shipping.start(FLANT5_INTEGRATION_GIVE_UP_HOURS="0.0001")
    claim = shipping.job()
    wait(shipping.all_is_told, of=shipping, what="giving up")
    last = events(shipping, claim)[-1]
    assert 'Integration "mlflow": gave up; last error: MLflow answered' in last
    assert "HTTP 403" in last
    mlflow.status = 200
    shipping.ends(claim)
    wait(lambda: mlflow.end == "KILLED", of=shipping, what="the end, which is tried anew")


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("no_proxy", "[::1]", "no_proxy is '[::1]', which can't be used"),
        ("http_proxy", "127.0.0.1:1", "through the proxy in http_proxy (http://127.0.0.1:1)"),
    ],
)
def test_a_network_variable_that_keeps_a_tracker_away_is_named(
    shipping: Shipping, mlflow: FakeMlflow, variable: str, value: str, problem: str
) -> None:
    shipping.start(**{"FLANT5_INTEGRATION_GIVE_UP_HOURS": "0.0001", variable: value})
    claim = shipping.job()
    wait(shipping.all_is_told, of=shipping, what="giving up")
    assert problem in events(shipping, claim)[-1]
    assert mlflow.num_requests == 0


def test_a_killed_shipper_leaves_no_process_and_the_next_one_goes_on(
    shipping: Shipping, mlflow: FakeMlflow
) -> None:
    first = shipping.start()
    claim = shipping.job()
    write(shipping.progress(claim), *map(step, range(1, 5)))
    wait(lambda: mlflow.steps == [1, 2, 3], of=shipping, what="three steps")
    (child,) = _children(first.pid)
    first.kill()
    wait(lambda: not Path(f"/proc/{child}").exists(), of=shipping, what="its process to end")
    write(shipping.progress(claim), *INTERRUPTED)
    assert shipping.redis.zadd(keys.SHIPMENTS, {f"{claim.job.id}/mlflow": 0}, ch=True)  # lease over
    shipping.start()
    shipping.ends(claim)
    wait(shipping.all_is_told, of=shipping, what="the end")
    assert mlflow.steps == STEPS
    assert len(mlflow.runs) == 1


def test_a_tracker_that_hangs_holds_up_no_stop(shipping: Shipping, mlflow: FakeMlflow) -> None:
    mlflow.hold = threading.Event()
    process = shipping.start()
    claim = shipping.job()
    wait(lambda: mlflow.num_requests, of=shipping, what="a request")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    (taken,) = ExportOutbox(Scripts(shipping.redis, QueuePolicy())).claim_due(
        limit=1, lease_seconds=60
    )
    assert taken.job_id == claim.job.id, "due at once, for the next one"


def test_a_process_that_gives_no_sign_of_life_is_killed(
    shipping: Shipping, mlflow: FakeMlflow
) -> None:
    mlflow.hold = threading.Event()
    shipping.start(FLANT5_INTEGRATION_TIMEOUT_SECONDS="3")
    shipping.job()
    wait(
        lambda: "no heartbeat for" in shipping.log.read_text(),
        of=shipping,
        what="the time-out",
    )
    assert count_exports(shipping.redis).num_tries["failed"]


def test_a_file_that_is_wrong_is_told_at_the_start(shipping: Shipping) -> None:
    shipping.file.write_text("[comet]\n")
    assert shipping.start().wait(timeout=60) == 2
    assert "[comet] is unknown; expected some of wandb, mlflow" in shipping.log.read_text()


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task")
    return [
        int(child)
        for task in os.listdir(path)
        for child in (path / task / "children").read_text().split()
    ]
