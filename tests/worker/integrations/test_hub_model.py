"""From the end of a job to its model on the hub: the real shipper, its real processes, a hub."""

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

from tests.hub.hub import READ_TOKEN, WRITE_TOKEN, Fault, Hub
from tests.hub.server import hub_server
from tests.hub.xet import XetStore
from tests.worker.integrations.test_hub_push import MODEL, NAME, content, model_in
from tests.worker.scenes import claimed_job, queued_job, wait_until
from worker.jobs.job import JobError, model_id
from worker.jobs.storage.paths import Home
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.outbox import count_exports
from worker.jobs.store.serialization import Failed, Succeeded
from worker.jobs.store.store import JobStore

PATIENCE_SECONDS = 60.0
FAILED = Failed(JobError(code="bad_data", message="no"))


class Shipping:
    """A shipper with an account on a hub, and jobs whose models it pushes."""

    def __init__(self, directory: Path, redis: Redis, redis_url: SecretStr) -> None:
        self.home = Home(directory / "home")
        self.file = directory / "integrations.toml"
        self.log = directory / "shipper.log"
        self.redis = redis
        self.store = JobStore(redis)
        self.history = JobHistory(redis, self.home)
        self._url = redis_url.get_secret_value()
        self.processes: list[subprocess.Popen[bytes]] = []

    def allow(self, hub: Hub, *, token: str = WRITE_TOKEN, namespace: str = "my-org") -> None:
        self.file.write_text(
            f'[huggingface]\ntoken = "{token}"\nendpoint = "{hub.url}"\n'
            f'namespaces = ["{namespace}"]\n' + ("" if hub.xet else 'transfer = "lfs"\n')
        )

    def start(self) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HF_HUB_OFFLINE": "1",  # as operators set it for base models
            "FLANT5_HOME": str(self.home.root),
            "FLANT5_REDIS_URL": self._url,
            "FLANT5_INTEGRATIONS_FILE": str(self.file),
            "FLANT5_INTEGRATION_RETRY_SECONDS": "0.1",
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.integrations"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def succeeded(self, **place: object) -> str:
        """A job with this integration and a final model."""
        claim = claimed_job(self.store, integrations=[integration(**place)])
        model_in(self.home.run_directory(claim.job.id).output)
        assert self.store.leases.finish(claim, Succeeded(model_id(claim.job.id, claim.job.spec)))
        return claim.job.id

    def messages(self, job_id: str) -> list[str]:
        return [event.message for event in self.history.events(job_id).items]

    def wait_for_message(self, job_id: str, part: str) -> str:
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [each for each in self.messages(job_id) if part in each]
            return bool(found)

        wait_until(is_there, seconds=PATIENCE_SECONDS, what=f"{part} is told")
        return found[0]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def integration(**place: object) -> dict[str, object]:
    return {"type": "huggingface", "huggingface": {"repository": NAME, **place}}


@pytest.fixture
def shipping(tmp_path: Path, redis: Redis, redis_url: SecretStr) -> Iterator[Shipping]:
    shipping = Shipping(tmp_path, redis, redis_url)
    yield shipping
    shipping.close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server(Hub()) as served:
        yield served


def test_a_model_is_pushed_when_its_job_has_succeeded_and_no_other(
    shipping: Shipping, hub: Hub
) -> None:
    """The first try meets a hub that is not well. What is allowed is known before."""
    shipping.allow(hub)
    hub.faults.append(Fault("POST", "create", 503))
    failed = claimed_job(shipping.store, integrations=[integration()])
    assert shipping.store.leases.finish(failed, FAILED)
    cancelled = shipping.store.cancel(queued_job(shipping.store, integrations=[integration()]).id)
    job_id = shipping.succeeded(private=False, revision="first")
    shipper = shipping.start()
    told = shipping.wait_for_message(job_id, "Hugging Face Hub: ")
    (head, *_, made) = hub.repositories[NAME].branches["first"]
    assert told == f"Hugging Face Hub: {hub.url}/{NAME}/commit/{made.oid}"
    assert made.summary == f"Fine-tuned from flant5-demo by flant5, {job_id}"
    assert content(hub, "first") == MODEL
    assert not hub.repositories[NAME].is_private
    assert hub.repositories[NAME].branches["main"] == [head], "no other job's model came"
    wait_until(lambda: count_exports(shipping.redis).num_waiting == 0, seconds=PATIENCE_SECONDS)
    for each in (failed.job.id, cancelled.id):
        assert not [said for said in shipping.messages(each) if "Hub" in said]
    stored = shipping.redis.hgetall(keys.INTEGRATIONS)
    assert stored == {"huggingface": '["*"]', "huggingface:namespaces": '["my-org"]'}
    shipper.send_signal(signal.SIGTERM)
    assert shipper.wait(timeout=PATIENCE_SECONDS) == 0
    assert WRITE_TOKEN not in shipping.log.read_text()
    assert "the hub answered 503 to POST /api/repos/create" in shipping.log.read_text()


def test_weights_go_by_xet_unless_the_account_says_otherwise(
    shipping: Shipping, tmp_path: Path
) -> None:
    with hub_server(Hub(xet=XetStore(tmp_path / "xet"))) as hub:
        shipping.allow(hub)
        job_id = shipping.succeeded()
        shipping.start()
        shipping.wait_for_message(job_id, "Hugging Face Hub: ")
        wait_until(lambda: count_exports(shipping.redis).num_waiting == 0, seconds=PATIENCE_SECONDS)
        assert hub.objects == {}
        assert content(hub) == MODEL


def test_what_the_hub_refuses_is_told_at_once_and_not_tried_again(
    shipping: Shipping, hub: Hub
) -> None:
    shipping.allow(hub, token=READ_TOKEN)
    job_id = shipping.succeeded()
    shipping.start()
    told = shipping.wait_for_message(job_id, "gave up")
    assert told.startswith('Integration "huggingface": gave up; ')
    assert "the hub answered 403" in told
    assert "the rights to create a model" in told
    counts = count_exports(shipping.redis)
    assert (counts.num_waiting, counts.num_tries["given_up"]) == (0, 1)
    assert [each for each in hub.requests if "create" in each] == ["POST /api/repos/create"]


def test_a_namespace_that_is_allowed_no_more_is_not_written_to(
    shipping: Shipping, hub: Hub
) -> None:
    job_id = shipping.succeeded()
    shipping.allow(hub, namespace="their-org")
    shipping.start()
    assert "'my-org' is no longer allowed by [huggingface]" in shipping.wait_for_message(
        job_id, "gave up"
    )
    assert hub.requests == []


def test_a_shipper_that_is_killed_in_an_upload_is_followed_by_one_that_ends_it(
    shipping: Shipping, hub: Hub
) -> None:
    hub.hold = threading.Event()
    shipping.allow(hub)
    job_id = shipping.succeeded()
    shipper = shipping.start()
    assert hub.uploading.wait(timeout=PATIENCE_SECONDS)
    shipper.kill()
    shipper.wait()
    hub.hold.set()
    # As its lease would have ended by itself.
    shipping.redis.zadd(keys.SHIPMENTS, {f"{job_id}/huggingface": 0})
    shipping.start()
    shipping.wait_for_message(job_id, "Hugging Face Hub: ")
    assert hub.repositories[NAME].summaries() == [
        "initial commit",
        f"Fine-tuned from flant5-demo by flant5, {job_id}",
    ]
    assert content(hub) == MODEL
