"""Jobs that need two workers, with the real trainer; the parts of the service are killed."""

import hashlib
from collections.abc import Iterator

import pytest

from flant5_train.progress import StepTrained
from tests.stack.parts import QUICK, Parts
from tests.stack.service import EXAMPLES, Service, processes_with

pytestmark = pytest.mark.stack

SETTINGS = {
    "max_steps": 24,
    "save_steps": 4,
    "per_device_train_batch_size": 2,
    "model_max_length": 128,
    "learning_rate": 1e-3,
}
TWO_NODES = {**SETTINGS, "num_nodes": 2}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    home = tmp_path_factory.mktemp("home")
    with Parts(home, settings={**QUICK, "FLANT5_NODE_ADDRESS": "127.0.0.1"}) as parts:
        yield parts
    assert not processes_with(str(home))


@pytest.fixture(scope="module")
def training_file(parts: Parts) -> str:
    return parts.service.upload(EXAMPLES)


def steps(service: Service, job_id: str) -> dict[int, tuple[object, ...]]:
    """The last record of each step: what training it again must not change."""
    return {
        record.step: (record.loss, record.grad_norm, record.learning_rate, record.tokens_seen)
        for record in service.records(job_id)
        if isinstance(record, StepTrained)
    }


def weights(service: Service, job_id: str) -> str:
    path = service.home / "jobs" / job_id / "output" / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(parts: Parts, training_file: str) -> str:
    """The same training on one node with two processes."""
    job_id = parts.service.submit(training_file, **SETTINGS, num_gpus=2)
    assert parts.service.ended(job_id)["status"] == "succeeded"
    return job_id


def assert_equal_training(service: Service, job_id: str, undisturbed: str) -> None:
    assert steps(service, job_id) == steps(service, undisturbed)
    assert weights(service, job_id) == weights(service, undisturbed)


def test_two_nodes_train_exactly_as_one_with_as_many_processes(
    parts: Parts, training_file: str, undisturbed: str
) -> None:
    service = parts.service
    job_id = service.submit(training_file, **TWO_NODES)
    job = service.ended(job_id)
    assert job["status"] == "succeeded", job["error"]
    assert job["attempt"] == 1
    assert_equal_training(service, job_id, undisturbed)
