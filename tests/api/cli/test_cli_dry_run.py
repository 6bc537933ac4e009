"""`flant5 submit --dry-run` against a real server."""

from pathlib import Path

import pytest
from redis import Redis

from api.settings import ApiSettings
from tests.api.cli_runs import flant5
from tests.api.plan_scenes import EXAMPLES
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.redis import Scripts
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    path = tmp_path / "examples.json"
    path.write_bytes(EXAMPLES)
    return path


def test_a_dry_run_tells_what_the_job_would_be_and_leaves_nothing(
    server_url: str, settings: ApiSettings, store: JobStore, examples: Path
) -> None:
    run = flant5(
        *("submit", examples, "--validation", examples, "--dry-run", "--gpu-memory-gib", "1.2"),
        *("--set", "max_steps=40", "--set", "finetuning_type=lora"),
        url=server_url,
    )
    assert run.code == 0, run.err
    rows = dict(line.split(maxsplit=1) for line in run.out.splitlines() if " " in line)
    assert rows["training"].strip() == "746 pairs from 277 conversations"
    assert rows["validation"].strip() == "746 pairs from 277 conversations"
    assert rows["steps"].strip() == "40 (0.4819 epochs of 83 steps, 9.0 pairs per step)"
    assert "learning_rate=0.001" in rows["settings"]
    assert "lora_target_modules=q+k+v+o+wi_0+wi_1+wo" in rows["settings"]
    assert "of 1.2 GiB (stated): may not fit" in run.out
    assert "unknown: no comparable job on flant5-demo was measured yet" in run.out
    assert run.out.endswith("nothing was started\n")
    assert store.list(after=None, limit=5).items == ()
    assert [*(settings.home / "files").iterdir()] == []


def test_a_dry_run_of_an_uploaded_file_leaves_it_alone(
    server_url: str, store: JobStore, data: Path, redis: Redis
) -> None:
    state = WorkerState(name="gpu-0", devices=("GPU-1",), gpu_bytes=80 * 2**30)
    WorkerRegistry(Scripts(redis, QueuePolicy())).register(state, seconds=600)
    submitted = flant5("submit", data, "--json", url=server_url)
    file_id = submitted.document["training_file"]
    plan = flant5("submit", file_id, "--dry-run", "--json", url=server_url).document
    assert plan["spec"]["training_file"] == file_id
    assert plan["memory"]["gpu_from"] == "gpu-0"
    again = flant5("submit", file_id, "--dry-run", url=server_url)
    assert again.code == 0
    assert "of 80.0 GiB (gpu-0): fits" in again.out
    assert len(store.list(after=None, limit=5).items) == 1


def test_a_job_that_would_fail_ends_a_dry_run_with_1_and_nothing_moves_the_cursor(
    server_url: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(EXAMPLES.replace(b'"from": "gpt"', b'"from": "\\u001b[2J"', 1))
    run = flant5("submit", bad, "--dry-run", url=server_url)
    assert (run.code, run.err) == (1, "")
    assert "training_file: 1 malformed record; record 1" in run.out
    assert "\x1b" not in run.out
    assert run.out.endswith("the job would fail\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--dry-run", "--watch"), "--watch can't be combined with --dry-run"),
        (("--gpu-memory-gib", "80"), "--gpu-memory-gib requires --dry-run"),
        (("--dry-run", "--gpu-memory-gib", "0"), "gpu_memory_gib: input should be greater than 0"),
        (("--dry-run", "--set", "learning_rat=1"), "did you mean 'learning_rate'?"),
    ],
)
def test_a_mistake_is_one_readable_line(
    server_url: str, settings: ApiSettings, data: Path, args: tuple[str, ...], message: str
) -> None:
    run = flant5("submit", data, *args, url=server_url)
    assert (run.code, run.out) == (1, "")
    assert message in run.err
    assert run.err.count("\n") == 1
    left = settings.home / "files"
    assert not left.exists() or not [*left.iterdir()]
