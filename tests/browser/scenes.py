"""Jobs in every state, as the dashboard finds them: written by a worker that there is not."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from flant5_train.protocol.progress import (
    Evaluated,
    SampleAnswer,
    SampleAnswers,
    StepTrained,
    TrainingStarted,
)
from tests.security.server import Server
from worker.jobs.job import Job, JobError, JobProgressState, JobSpec, model_id
from worker.jobs.storage.paths import Home
from worker.jobs.store.redis import open_redis
from worker.jobs.store.serialization import (
    Claim,
    Failed,
    NewCheckpoint,
    NewEvent,
    NewLogLine,
    Succeeded,
    Update,
)
from worker.jobs.store.store import JobStore

EVIL = "<img src=x onerror=alert(1)>"
LONG = "a-very-long-name-" * 3 + "of-64-chars"
NUM_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Scene:
    """What is on the server."""

    running: str
    failed: str
    succeeded: str
    evil_file: str
    bobs: str


def set_up(server: Server) -> Scene:
    """All of alice's but one job of bob's."""
    home = Home((server.directory / "home").resolve())
    evil_file = _upload(server, f"{EVIL}.json")
    with open_redis(server.redis.url) as redis:
        store = JobStore(redis)
        bobs = store.create(_spec("chats.json", suffix="of-bob"), owner="bob")
        succeeded = _claimed(store, _spec("chats.json", suffix="support-bot"))
        _train(store, home, succeeded, num_steps=600, max_steps=600)
        _save_model(home, succeeded.job)
        model = model_id(succeeded.job.id, succeeded.job.spec)
        assert store.leases.finish(succeeded, Succeeded(model))
        failed = _claimed(store, _spec("chats.json", suffix="too-large"))
        _train(store, home, failed, num_steps=40, max_steps=600)
        message = (
            "CUDA out of memory on rank 0: the batch of 64 pairs with up to 2048 tokens does not "
            "fit into 24 GB; lower per_device_train_batch_size or set gradient_checkpointing"
        )
        assert store.leases.finish(failed, Failed(JobError(code="cuda_oom", message=message)))
        running = _claimed(store, _spec(evil_file, suffix=LONG[:64]))
        _train(store, home, running, num_steps=NUM_STEPS, max_steps=120_000)
        for suffix in ("next", "after-that"):
            job = store.create(_spec("chats.json", suffix=suffix), owner="alice")
            assert store.accept(job.id)
        paused = store.create(_spec("chats.json", suffix="weekend"), owner="alice")
        assert store.accept(paused.id)
        store.pause(paused.id)
    return Scene(running.job.id, failed.job.id, succeeded.job.id, evil_file, bobs.id)


def add_many(server: Server, number: int) -> None:
    """So many jobs of alice's that wait."""
    with open_redis(server.redis.url) as redis:
        store = JobStore(redis)
        for count in range(number):
            store.create(_spec("chats.json", suffix=f"many-{count}"), owner="alice")


def _upload(server: Server, name: str) -> str:
    with server.client() as client:
        content = json.dumps(
            [{"conversations": [{"from": "human", "value": EVIL}, {"from": "gpt", "value": EVIL}]}]
        )
        answer: httpx.Response = client.post(
            "/files", data={"purpose": "fine-tune"}, files={"file": (name, content)}
        )
    return str(answer.raise_for_status().json()["id"])


def _spec(training_file: str, *, suffix: str) -> JobSpec:
    return JobSpec(model="flant5-demo", training_file=training_file, suffix=suffix)


def _claimed(store: JobStore, spec: JobSpec) -> Claim:
    job = store.create(spec, owner="alice")
    assert store.accept(job.id)
    claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=86_400)
    assert claim is not None
    assert claim.job.id == job.id
    return claim


def _train(store: JobStore, home: Home, claim: Claim, *, num_steps: int, max_steps: int) -> None:
    directory = home.run_directory(claim.job.id)
    directory.output.mkdir(parents=True, exist_ok=True)
    with directory.progress.open("w", encoding="utf-8") as file:
        for record in records(num_steps=num_steps, max_steps=max_steps):
            file.write(record.model_dump_json() + "\n")
    lines = [f"step {step}: all is well" for step in range(50)]
    lines += [EVIL, "ValueError: the last line"]
    directory.log.write_text("needle in line 1\n" + "\n".join(lines) + "\n", encoding="utf-8")
    told = SampleAnswers(
        step=num_steps,
        num_answers=3,
        answers=(SampleAnswer(question=f"Say {EVIL}", expected="I won't.", given=EVIL),),
    )
    data = told.model_dump(mode="json", exclude={"type", "at"})
    name = "checkpoint-20"
    update = Update(
        events=(
            NewEvent(f"Training starts: {max_steps} steps over 582 pairs, processes: 1"),
            NewEvent(f"Step {num_steps}: 1 of 3 sample answers recorded", data=data),
        ),
        log_lines=tuple(NewLogLine(line) for line in lines),
        checkpoints=(NewCheckpoint(20, f"output/{name}", {"eval_loss": 2.5}),),
        phase="training",
        progress=JobProgressState(
            step=num_steps,
            max_steps=max_steps,
            percent=100 * num_steps / max_steps,
            loss=1.2345,
            tokens_per_second=51_000,
            eta_seconds=7500,
        ),
    )
    (directory.output / name).mkdir()
    (directory.output / name / "model.safetensors").write_bytes(bytes(1000))
    assert store.leases.record(claim, update)


def records(
    *, num_steps: int, max_steps: int
) -> Iterator[StepTrained | Evaluated | TrainingStarted]:
    """A run as its trainer tells it, with one spike."""
    yield TrainingStarted(step=0, max_steps=max_steps, num_pairs=582, num_processes=1)
    every = max(1, num_steps // 20)
    for step in range(1, num_steps + 1):
        decay = math.exp(-4 * step / max_steps)
        noise = 0.35 * math.sin(step * 12.9898) * math.cos(step * 78.233)
        yield StepTrained(
            step=step,
            max_steps=max_steps,
            epoch=step / max_steps * 3,
            loss=9.0 if step == num_steps // 2 else 0.8 + 4.2 * decay + noise,
            learning_rate=1e-4 * min(1, step / (0.03 * max_steps)) * (0.1 + 0.9 * decay),
            grad_norm=1 + abs(noise) * 3,
            tokens_seen=step * 9000,
            tokens_per_second=51_000 + 4000 * noise,
            gpu_memory_bytes=int(61e9 + 3e8 * noise),
            eta_seconds=0.07 * (max_steps - step),
        )
        if step % every == 0:
            yield Evaluated(
                step=step,
                eval_loss=1.1 + 4 * decay,
                eval_token_accuracy=0.8 - 0.6 * decay,
                eval_tokens=9000,
                eval_exact_match=0.3 - 0.3 * decay,
                eval_rouge_l=0.6 - 0.5 * decay,
            )


def _save_model(home: Home, job: Job) -> None:
    output: Path = home.run_directory(job.id).output
    for name in ("config.json", "model.safetensors"):
        (output / name).write_text("{}")
