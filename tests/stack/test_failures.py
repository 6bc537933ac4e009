"""The reason of every failure is right, through the whole service and the real trainer.

Each job meets one fault (`programs/trainer_with_faults.py`); what a caller sees of it is looked at:
the error's code, the words that name the cause, and how many attempts there were.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flant5_train.demo_model import build_model
from tests.flant5_train.conftest import TINY
from tests.flant5_train.runs import some_examples
from tests.memory_group import small_memory_group
from tests.small_disk import small_disk
from tests.stack.faults import fault_file
from tests.stack.parts import QUICK, Parts
from tests.stack.programs.trainer_with_faults import FAULTS, GROUP_BYTES
from tests.stack.service import FINAL, Service, wait_until

pytestmark = pytest.mark.stack

PROGRAM = Path(__file__).parent / "programs" / "worker_with_faults.py"
SETTINGS = QUICK | {"FLANT5_MAX_INFRA_RETRIES": "2"}
HYPERPARAMETERS = {
    "max_steps": 4,
    "save_steps": 3,
    "per_device_train_batch_size": 2,
    "model_max_length": 64,
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    home = tmp_path_factory.mktemp("failures")
    worker = (sys.executable, str(PROGRAM))
    with (
        small_disk(home / "jobs", num_bytes=1 << 30),
        Parts(home, settings=SETTINGS, worker=worker, num_workers=1) as parts,
    ):
        yield parts


@pytest.fixture(scope="module")
def service(parts: Parts) -> Service:
    return parts.service


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return some_examples(tmp_path_factory.mktemp("talks") / "talks.json", 12)


def submit(service: Service, talks: Path, fault: str | None = None, **settings: object) -> str:
    """The id of a job that meets `fault`."""
    file_id = service.upload(talks)
    if fault is not None:
        assert fault in FAULTS
        path = fault_file(service.home, file_id)
        path.parent.mkdir(exist_ok=True)
        path.write_text(fault)
    return service.submit(file_id, **(HYPERPARAMETERS | settings))


def submit_on(service: Service, model: str, training_file: str, **fields: object) -> str:
    """The id of a job on a model of its own."""
    spec = {"model": model, "training_file": training_file, "hyperparameters": HYPERPARAMETERS}
    answer = httpx.post(f"{service.url}/fine_tuning/jobs", json={**spec, **fields})
    return str(answer.raise_for_status().json()["id"])


def has_begun(service: Service, job_id: str, attempt: int) -> bool:
    """Whether this attempt has come to training, by the trainer's own word: the news of an earlier
    attempt may still be on their way to the API."""
    job = service.job(job_id)
    assert job["status"] not in FINAL, job["error"]
    is_there = (service.home / "jobs" / job_id / "progress.jsonl").exists()
    return is_there and len(service.starts(job_id)) == attempt


def error_of(job: dict[str, Any]) -> tuple[str, str]:
    """Code and message of a job that failed."""
    assert job["status"] == "failed", job
    return job["error"]["code"], job["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "num_gpus", "code", "words", "attempts"),
    [
        ("cuda_oom", 1, "cuda_oom", "CUDA out of memory. Tried to allocate 2.00 GiB", 1),
        ("nan", 1, "nan_loss", "is nan at step 3 of 4; expected a finite number", 1),
        (
            "cuda_oom",
            1,
            "cuda_oom",
            "Remedies, most effective first: gradient_checkpointing=true; ",
            1,
        ),
        ("zero_learning_rate", 1, "bad_config", "the learning rate is 0 from step 4 of 4 on", 1),
        ("import_error", 1, "internal", "accelerate", 1),
        ("syntax_error", 1, "internal", "SyntaxError: invalid syntax", 1),
        ("sys_exit", 2, "internal", "a training process ended with exit code 3", 1),
        ("os_exit", 2, "internal", "a training process ended with exit code 5", 1),
        ("segfault", 2, "killed", "a training process was killed by signal 11 (SIGSEGV)", 2),
    ],
)
def test_a_failure_of_the_training_is_named(
    service: Service, talks: Path, fault: str, num_gpus: int, code: str, words: str, attempts: int
) -> None:
    job = service.ended(submit(service, talks, fault, num_gpus=num_gpus))
    found, message = error_of(job)
    assert (found, job["attempt"]) == (code, attempts), message
    assert words in message


def test_an_exploded_loss_is_named(service: Service, talks: Path) -> None:
    job = service.ended(submit(service, talks, "explosion", max_steps=60, save_steps=60))
    code, message = error_of(job)
    assert (code, job["attempt"], job["error"]["param"]) == ("loss_explosion", 1, "learning_rate")
    assert "the loss has exploded: at step " in message


@pytest.mark.parametrize("fault", ["broken_gpu_once", "killed_once"])
def test_a_fault_of_the_machine_costs_an_attempt_and_not_the_job(
    service: Service, talks: Path, fault: str
) -> None:
    job = service.ended(submit(service, talks, fault))
    assert job["status"] == "succeeded", job["error"]
    assert job["attempt"] == 2


def test_a_process_that_the_kernel_kills_for_want_of_memory_is_tried_once_more(
    service: Service, talks: Path
) -> None:
    with small_memory_group(GROUP_BYTES) as processes:
        (service.home / "small-group").symlink_to(processes)
        job = service.ended(submit(service, talks, "host_oom"))
    code, message = error_of(job)
    assert (code, job["attempt"]) == ("host_oom", 2), message
    assert "the machine ran out of memory" in message


def test_bad_data_is_named_by_its_place(service: Service, tmp_path: Path) -> None:
    bad = tmp_path / "talks.json"
    bad.write_text('[{"conversations": [{"from": "alien", "value": "x"}]}]')
    job = service.ended(submit(service, bad))
    code, message = error_of(job)
    assert (code, job["attempt"]) == ("bad_data", 0)
    assert "talks.json: record 1 (line 1): field 'conversations[0].from'" in message


def test_a_model_that_can_not_be_loaded_is_named(service: Service, talks: Path) -> None:
    broken = service.home / "models" / "broken"
    text = "a text for the vocabulary of a model that is cut off below\n"
    build_model(broken, texts=iter([text] * 50), sizes=TINY)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    job = service.ended(submit_on(service, "broken", service.upload(talks)))
    code, message = error_of(job)
    assert (code, job["attempt"], job["error"]["param"]) == ("bad_model", 1, "model"), message
    assert f"model '{broken}' can't be loaded: SafetensorError" in message


def test_a_model_that_went_away_is_named(service: Service, talks: Path) -> None:
    gone = service.home / "models" / "gone"
    demo = next((service.home / "models").glob("flant5-demo*"))
    shutil.copytree(demo, gone)  # whole: a create refuses one that could not be loaded
    job_id = submit_on(service, "gone", service.upload(talks))
    shutil.rmtree(gone)
    code, message = error_of(service.ended(job_id))
    assert code == "bad_model"
    assert "unknown model 'gone'" in message


def test_a_full_disk_is_named(service: Service, talks: Path) -> None:
    job_id = submit(service, talks, "disk_full")
    job = service.ended(job_id)
    (service.home / "jobs" / "ballast").unlink()
    code, message = error_of(job)
    output = service.home / "jobs" / job_id / "output"
    assert (code, job["attempt"]) == ("disk_full", 1), message
    assert "the disk is too full for checkpoint-3: " in message
    assert f" bytes are free in {output}, about " in message
    assert not list(output.glob("checkpoint-*"))


def test_a_job_at_its_limit_of_time_is_named_and_keeps_its_work(
    service: Service, talks: Path
) -> None:
    job_id = submit_on(
        service,
        "flant5-demo",
        service.upload(talks),
        hyperparameters=HYPERPARAMETERS | {"max_steps": 100_000, "save_steps": 100_000},
        max_run_seconds=25,
    )
    job = service.ended(job_id)
    code, message = error_of(job)
    assert (code, job["attempt"]) == ("timeout", 1), message
    assert "its time limit (max_run_seconds = 25)" in message
    checkpoints = list((service.home / "jobs" / job_id / "output").glob("checkpoint-*/COMPLETE"))
    # On a slow machine the time may be up before the training begins.
    assert len(checkpoints) == len(service.starts(job_id))


def test_a_redis_that_was_lost_for_long_costs_an_attempt_and_not_the_job(
    parts: Parts, talks: Path
) -> None:
    service = parts.service
    job_id = submit(service, talks, max_steps=5000)
    wait_until(lambda: service.is_beyond(job_id, 3))
    before = service.processes_of(job_id)
    parts["redis"].kill(away_seconds=5)  # longer than the worker goes on without it
    wait_until(lambda: not any(process.is_running for process in before), seconds=10)
    wait_until(parts.is_ready)
    wait_until(lambda: has_begun(service, job_id, 2), seconds=120)
    assert service.starts(job_id)[1] >= 3, "goes on from the newest complete checkpoint"
    httpx.post(f"{service.url}/fine_tuning/jobs/{job_id}/cancel").raise_for_status()
    service.ended(job_id)


def test_a_worker_that_is_lost_again_and_again_is_named(parts: Parts, talks: Path) -> None:
    service = parts.service
    job_id = submit(service, talks, max_steps=5000, save_steps=1000)
    for attempt in (1, 2):
        wait_until(lambda: has_begun(service, job_id, attempt), seconds=120)  # noqa: B023
        parts["worker-0"].kill()
    code, message = error_of(service.ended(job_id))
    assert code == "worker_lost", message
    assert "2 attempts in a row were lost without a new checkpoint" in message
