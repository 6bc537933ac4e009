"""What plans are made of: the examples, a small model, jobs that were measured."""

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from api.settings import ApiSettings
from flant5_train.config import Hyperparameters
from flant5_train.protocol.progress import StepTrained, TrainingStarted
from worker.jobs.job import Job, JobSpec, model_id
from worker.jobs.store.serialization import Succeeded
from worker.jobs.store.store import JobStore

EXAMPLES = (Path(__file__).parents[2] / "examples" / "conversations.json").read_bytes()
REQUEST = {"model": "flant5-demo", "training_file": "chats.json"}
_OF_THE_QUERY = ("wait_seconds", "gpu_memory_gib")


def plan(client: TestClient, **fields: Any) -> Any:
    """The answer to a request for a plan."""
    params = {"wait_seconds": 30} | {
        name: fields.pop(name) for name in _OF_THE_QUERY if name in fields
    }
    return client.post("/fine_tuning/jobs/plan", json=REQUEST | fields, params=params)


def planned(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = plan(client, **fields)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def make_model(settings: ApiSettings) -> Path:
    """A directory `small` among the base models: a configuration, a vocabulary, and an empty file
    for the weights."""
    from flant5_train.demo_model import small_config, train_vocabulary

    directory = settings.home / "models" / "small"
    directory.mkdir(parents=True)
    words = ("Hi Hello! Bye now then what is this text about " * 20).split()
    (directory / "spiece.model").write_bytes(train_vocabulary(iter(words), num_pieces=60))
    sizes = {"d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64}
    config = small_config(vocab_size=448, num_layers=1, num_decoder_layers=1, **sizes)
    config.save_pretrained(directory)
    (directory / "model.safetensors").touch()
    return directory


def measured_job(
    store: JobStore,
    settings: ApiSettings,
    *,
    model: str,
    tokens_per_second: float,
    num_steps: int = 50,
    **hyperparameters: Any,
) -> Job:
    """A job that has succeeded, and what it wrote of its steps: a million operations a token."""
    values = Hyperparameters(**hyperparameters)
    job = store.create(JobSpec(model=model, training_file="chats.json", hyperparameters=values))
    assert store.accept(job.id)
    claim = store.leases.claim(worker="gpu-0", num_slots=8, lease_seconds=600)
    assert claim is not None
    store.leases.finish(claim, Succeeded(model_id(job.id, job.spec)))
    path = settings.home_directories.run_directory(job.id).progress
    path.parent.mkdir(parents=True)
    start = TrainingStarted(at=100, step=0, max_steps=num_steps, num_pairs=9, num_processes=1)
    steps = [
        StepTrained(
            # The first step compiles.
            at=150.0 + 10 * step,
            step=step,
            max_steps=num_steps,
            epoch=1,
            loss=1,
            learning_rate=1e-4,
            tokens_seen=int(10 * tokens_per_second * step),
            tokens_per_second=tokens_per_second,
            tflops=tokens_per_second * 1e-6,
            eta_seconds=0,
        )
        for step in range(1, num_steps + 1)
    ]
    lines = (record.model_dump_json() + "\n" for record in (start, *steps))
    path.write_text("".join(lines), encoding="utf-8")
    return store.get(job.id)
