"""A run that was ended goes on where it was, and nothing of it stays behind."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from flant5_train.protocol.progress import ModelSaved, Stopped, TrainingStarted, read_records
from tests.flant5_train.runs import command, environment, run, some_examples, wait_until


@pytest.mark.parametrize(
    ("processes", "batching", "steps"),
    [
        (1, "padded", (5, 15, 24)),
        (2, "packed", (15,)),
        pytest.param(2, "padded", (5, 15, 24), marks=pytest.mark.stack),
        pytest.param(1, "bucketed", (15,), marks=pytest.mark.stack),
        pytest.param(2, "bucketed", (15,), marks=pytest.mark.stack),
        pytest.param(1, "packed", (15,), marks=pytest.mark.stack),
    ],
)
def test_a_resumed_run_ends_bit_identical_to_an_uninterrupted_one(
    tiny_model: Path, tmp_path: Path, processes: int, batching: str, steps: tuple[int, ...]
) -> None:
    data = some_examples(tmp_path / "talks.json", 30)
    settings = {
        "model_name_or_path": tiny_model,
        "data_path": data,
        "max_steps": 24,
        "save_steps": 5,
        "per_device_train_batch_size": 4 // processes,
        "save_total_limit": 9,
        "batching": batching,
    }
    whole = run(tmp_path / "whole", processes=processes, **settings)
    assert whole.exit_code == 0, whole.log
    epochs = [step.epoch for step in whole.steps()]
    assert epochs[4] < 1 < epochs[14] < 2, "step 5 lies in the first epoch, 15 in the second"
    for step in steps:
        resumed_dir = tmp_path / f"from {step}"
        shutil.copytree(whole.output_dir / f"checkpoint-{step}", resumed_dir / f"checkpoint-{step}")
        # What a killed process leaves behind: a later checkpoint without its marker.
        (resumed_dir / f"checkpoint-{step + 1}").mkdir()
        resumed = run(resumed_dir, processes=processes, **settings)
        assert resumed.exit_code == 0, resumed.log
        losses = [(record.step, record.loss) for record in resumed.steps()]
        assert losses == [(record.step, record.loss) for record in whole.steps()[step:]]
        assert resumed.weights() == whole.weights()
        ends = [each.records()[-1].model_dump(exclude={"at", "path"}) for each in (resumed, whole)]
        assert ends[0] == ends[1]


def test_sigterm_saves_and_the_next_run_goes_on_from_there(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = {"model_name_or_path": tiny_model, "max_steps": 400, "logging_steps": 1}
    output_dir = tmp_path / "out"
    progress = output_dir / "progress.jsonl"
    process = subprocess.Popen(
        command(output_dir, processes=2, **settings),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: progress.exists() and b'"step":3' in progress.read_bytes())
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    *_, stopped = read_records(progress)
    assert isinstance(stopped, Stopped)
    assert 3 <= stopped.step < 400
    assert stopped.path == str(output_dir / f"checkpoint-{stopped.step}")
    shorter = {"max_steps": stopped.step + 2, "accept_checkpoint": "changed"}
    finished = run(output_dir, processes=2, **settings | shorter)
    starts = [record for record in finished.records() if isinstance(record, TrainingStarted)]
    assert [start.step for start in starts] == [0, stopped.step]
    assert isinstance(finished.records()[-1], ModelSaved)


def test_no_process_outlives_a_killed_launcher(tiny_model: Path, tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    process = subprocess.Popen(
        command(tmp_path, processes=2, model_name_or_path=tiny_model, max_steps=10_000),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: progress.exists() and b'"step":2' in progress.read_bytes())
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    ranks = [int(pid) for pid in Path(children).read_text().split()]
    assert len(ranks) == 2
    process.kill()
    process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in ranks), seconds=20)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
