"""Real runs that learn their few conversations by heart: the validation loss falls, then rises."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from flant5_train.protocol.progress import (
    BestChosen,
    Evaluated,
    ModelSaved,
    StoppedEarly,
    TrainingStarted,
)
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import Run, run, some_examples


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "model_name_or_path": tiny_model,
        "data_path": some_examples(tmp_path / "talks.json", 30),
        "validation_split": 0.2,
        "max_steps": 70,
        "eval_steps": 5,
        "logging_steps": 2,
        "save_total_limit": 1,
        "learning_rate": 0.05,
        "lr_scheduler_type": "constant",
        "load_best_model_at_end": True,
        "early_stopping_patience": 3,
    }


def losses(finished: Run) -> dict[int, float]:
    return {
        record.step: record.eval_loss
        for record in finished.records()
        if isinstance(record, Evaluated)
    }


def only(finished: Run, kind: type) -> Any:
    (record,) = [record for record in finished.records() if isinstance(record, kind)]
    return record


def stripped(finished: Run) -> dict[str, object]:
    return finished.records()[-1].model_dump(exclude={"at", "path"})


def test_a_run_that_gets_no_better_ends_early_with_its_best_model(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = run_here(monkeypatch, tmp_path / "out", **settings)
    assert finished.exit_code == 0, finished.log
    found = losses(finished)
    best = min(found, key=found.__getitem__)
    stopped = only(finished, StoppedEarly)
    assert stopped.step == max(found) == best + 3 * 5 < 70
    assert (stopped.patience, stopped.best_step) == (3, best)
    assert stopped.best_eval_loss == found[best]
    assert only(finished, BestChosen).step == best
    assert isinstance(finished.records()[-1], ModelSaved)
    assert only(finished, ModelSaved).step == stopped.step
    kept = sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*"))
    assert kept == [f"checkpoint-{best}", f"checkpoint-{stopped.step}"]
    saved = tmp_path / "out" / f"checkpoint-{best}" / "model.safetensors"
    assert finished.weights() == saved.read_bytes()

    # From the best checkpoint on, as after a lost machine.
    shutil.copytree(saved.parent, tmp_path / "from best" / saved.parent.name)
    resumed = run_here(monkeypatch, tmp_path / "from best", **settings)
    assert stripped(resumed) == stripped(finished)
    assert resumed.weights() == finished.weights()
    assert only(resumed, StoppedEarly).step == stopped.step

    # Lost between its last checkpoint and the final model.
    for name in kept:
        shutil.copytree(tmp_path / "out" / name, tmp_path / "from end" / name)
    resumed = run_here(monkeypatch, tmp_path / "from end", **settings)
    assert only(resumed, TrainingStarted).step == stopped.step
    assert resumed.steps() == [], "training was over"
    assert stripped(resumed) == stripped(finished)
    assert resumed.weights() == finished.weights()


def test_without_these_settings_the_last_model_stays(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = settings | {"load_best_model_at_end": False, "early_stopping_patience": 0}
    finished = run_here(monkeypatch, tmp_path / "out", **plain | {"max_steps": 40})
    assert max(losses(finished)) == finished.steps()[-1].step == 40
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-40"]
    saved = tmp_path / "out" / "checkpoint-40" / "model.safetensors"
    assert finished.weights() == saved.read_bytes()


@pytest.mark.stack
def test_two_processes_stop_early_together(settings: dict[str, Any], tmp_path: Path) -> None:
    """A threshold that nothing but the first evaluation passes."""
    settings |= {"early_stopping_threshold": 50, "eval_generation_samples": 5}
    finished = run(tmp_path / "out", processes=2, **settings)
    assert finished.exit_code == 0, finished.log
    assert only(finished, StoppedEarly).step == 20
    assert isinstance(finished.records()[-1], ModelSaved)
    found = losses(finished)
    best = min(found, key=found.__getitem__)
    saved = tmp_path / "out" / f"checkpoint-{best}" / "model.safetensors"
    assert finished.weights() == saved.read_bytes()
