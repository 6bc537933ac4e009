from pathlib import Path

import pytest

from flant5_train.protocol.failure import FailureCode
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import some_examples


def test_a_learning_rate_of_0_ends_the_run_with_the_reason(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The polynomial schedule that falls below its end is 0 from there on."""
    settings = {
        "model_name_or_path": tiny_model,
        "data_path": some_examples(tmp_path / "talks.json", 20),
        "max_steps": 8,
        "learning_rate": 1e-3,
    }
    finished = run_here(monkeypatch, tmp_path / "good", warmup_ratio=0.5, **settings)
    assert finished.exit_code == 0, finished.log
    assert finished.steps()[0].learning_rate == 0, "the first step of a warm-up"
    finished = run_here(
        monkeypatch, tmp_path / "bad", **settings | {"learning_rate": 0, "warmup_ratio": 0.5}
    )
    failure = finished.failure()
    assert failure is not None, finished.log
    assert (failure.code, failure.param) == (FailureCode.BAD_CONFIG, "learning_rate")
    assert "the learning rate is 0 from step 2 of 8 on" in failure.message
    assert "warm-up of 4 steps" in failure.message


def test_a_run_that_is_resumed_behind_the_end_of_its_schedule_goes_on(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "model_name_or_path": tiny_model,
        "data_path": some_examples(tmp_path / "talks.json", 20),
        "lr_scheduler_type": "linear",
        "accept_checkpoint": "changed",
    }
    for max_steps in (3, 6):
        finished = run_here(monkeypatch, tmp_path / "out", max_steps=max_steps, **settings)
        assert finished.exit_code == 0, finished.log
    rates = [step.learning_rate for step in finished.steps()]
    assert len(rates) == 6
    assert rates[3] == pytest.approx(1e-3 / 2), "by the new schedule, at step 3 of 6"
    assert all(rates[3:5])
