"""A run that goes on renews the time of `progress.jsonl` between its records."""

import os
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from flant5_train.training.callbacks import reporting
from flant5_train.training.callbacks.reporting import HeartbeatCallback
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import some_examples


def test_a_run_that_logs_nothing_gives_a_sign_at_each_part_of_a_step(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[Path] = []
    renew = os.utime

    def noted(path: Path, *times: Any, **others: Any) -> None:
        renew(path, *times, **others)
        touched.append(Path(path))

    monkeypatch.setattr("flant5_train.training.callbacks.reporting.os.utime", noted)
    monkeypatch.setattr(reporting, "PAUSE_SECONDS", 0.0)
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=tiny_model,
        data_path=some_examples(tmp_path / "talks.json", 20),
        max_steps=2,
        gradient_accumulation_steps=2,
        logging_steps=100,
    )
    assert finished.exit_code == 0, finished.log
    assert touched.count(tmp_path / "out" / "progress.jsonl") == 4


def give(sign: HeartbeatCallback, directory: Path, *, is_first: bool = True) -> None:
    state = TrainerState(is_world_process_zero=is_first)
    sign.on_step_end(TrainingArguments(output_dir=str(directory)), state, TrainerControl())


def test_steps_in_quick_succession_give_one_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be on a server far away."""
    monkeypatch.setattr(reporting, "PAUSE_SECONDS", 3600.0)
    progress = tmp_path / "progress.jsonl"
    progress.touch()
    sign = HeartbeatCallback(progress)
    os.utime(progress, (1, 1))
    give(sign, tmp_path)
    assert progress.stat().st_mtime > 1
    os.utime(progress, (1, 1))
    give(sign, tmp_path)
    assert progress.stat().st_mtime == 1


def test_only_the_first_process_gives_it(tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    progress.touch()
    os.utime(progress, (1, 1))
    give(HeartbeatCallback(progress), tmp_path, is_first=False)
    assert progress.stat().st_mtime == 1


def test_a_sign_that_can_not_be_given_ends_no_run(tmp_path: Path) -> None:
    give(HeartbeatCallback(tmp_path / "there is no such file"), tmp_path)
