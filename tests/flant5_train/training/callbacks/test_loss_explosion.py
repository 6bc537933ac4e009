import math
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import TrainerControl, TrainerState

from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.training.callbacks.guards import (
    PATIENCE,
    WINDOW,
    LossSpikeGuard,
    LossTrend,
    WorseThanGuessing,
)
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import some_examples

PIECES = 32_128


def explodes_at(losses: Iterable[float]) -> int | None:
    """The number of losses after which the rule ends a run."""
    trend = LossTrend(vocabulary_size=PIECES)
    for number, loss in enumerate(losses, start=1):
        trend.add(loss)
        if trend.has_exploded:
            return number
    return None


def is_worse_than_guessing_at(losses: Iterable[float], *, logging_steps: int = 1) -> int | None:
    """The step after which the second rule ends a run that logs means of `logging_steps`."""
    series = WorseThanGuessing(vocabulary_size=PIECES)
    curve = [*losses]
    for end in range(logging_steps, len(curve) + logging_steps, logging_steps):
        logged = curve[end - logging_steps : end]
        step = min(end, len(curve))
        series.add(sum(logged) / len(logged), step=step)
        if series.has_exploded(is_last=step == len(curve)):
            return step
    return None


def noisy(curve: Iterable[float]) -> list[float]:
    noise = np.random.default_rng(0)
    return [float(value * noise.lognormal(0, 0.3)) for value in curve]


FALLING = [1.2 + 1.5 * math.exp(-step / 80) for step in range(400)]


@pytest.mark.parametrize(
    "curve",
    [
        FALLING,
        [math.log(PIECES) * math.exp(-step / 60) for step in range(400)],
        # By heart, then pairs of another kind: more than three times the lowest, and no explosion.
        [0.02] * 100 + [3.5] * 100,
        # A few bad batches in a row, from which it comes back.
        FALLING[:200] + [30.0] * 5 + FALLING[200:],
        # From nothing, and no better.
        [12.0] * 200,
    ],
    ids=["fine-tuning", "from random weights", "by heart", "spikes", "hopeless"],
)
def test_a_curve_of_a_run_that_may_go_on_passes(curve: list[float]) -> None:
    assert explodes_at(noisy(curve)) is None
    for logging_steps in (1, 3, 10, 1000):
        found = is_worse_than_guessing_at(noisy(curve), logging_steps=logging_steps)
        assert found is None, logging_steps


@pytest.mark.parametrize("speed", [10, 25, 200])
def test_a_curve_that_begins_far_too_high_and_falls_passes(speed: float) -> None:
    falling = [4 + 60 * math.exp(-step / speed) for step in range(600)]
    assert explodes_at(falling) is None
    for logging_steps in (1, 3, 10):
        found = is_worse_than_guessing_at(falling, logging_steps=logging_steps)
        assert found is None, logging_steps


@pytest.mark.parametrize("start", [1, 2, 9])
def test_a_loss_that_leaves_within_the_first_logs_is_an_explosion(start: int) -> None:
    """To a level below that of guessing, where only what came before tells."""
    assert explodes_at([2.5] * max(3, start) + [9.0] * 40) is not None


@pytest.mark.parametrize("before", [[], [8.8], [2.0] * 9, [9.0] * 200], ids=len)
@pytest.mark.parametrize("logging_steps", [1, 2, 7, 10, 25, 1000])
@pytest.mark.parametrize("level", [30.0, 775.0])
def test_losses_far_above_guessing_for_ten_steps_are_an_explosion_however_they_are_logged(
    before: list[float], logging_steps: int, level: float
) -> None:
    found = is_worse_than_guessing_at(
        before + [level] * (300 if logging_steps == 1000 and level < 100 else 60),
        logging_steps=logging_steps,
    )
    assert found is not None
    if logging_steps == 1:
        assert found == len(before) + PATIENCE


@pytest.mark.parametrize("num_steps", range(2, PATIENCE))
def test_a_short_run_explodes_when_all_losses_but_the_base_models_are_far_above_guessing(
    num_steps: int,
) -> None:
    for first in (2.5, 775.0) if num_steps > 2 else (775.0,):
        curve = [first] + [775.0] * (num_steps - 1)
        for logging_steps in (1, 2, 1000):
            found = is_worse_than_guessing_at(curve, logging_steps=logging_steps)
            assert found == num_steps, (first, logging_steps)


@pytest.mark.parametrize(
    "curve",
    [
        [775.0],
        [2.5, 775.0],
        [2.5, 2.5] + [775.0] * 6,
        [775.0] * 7 + [2.5],
        [60.0, 50.0],
        [60.0 * 0.9**step for step in range(8)],
    ],
    ids=["one step", "one bad step", "good first two", "good last", "falls at once", "falls"],
)
def test_a_short_run_with_a_good_or_a_falling_loss_passes(curve: list[float]) -> None:
    assert is_worse_than_guessing_at(curve) is None


def test_an_exploded_loss_that_wanders_down_is_still_an_explosion() -> None:
    curve = [8.8] + [775.0 * 0.99**step for step in range(100)]
    assert is_worse_than_guessing_at(curve) == 1 + PATIENCE


@pytest.mark.parametrize("level", [7.0, 10.0, 500.0])
def test_a_loss_that_has_left_for_good_is_an_explosion(level: float) -> None:
    """7.0: all that such a model still knows is how frequent each piece is."""
    found = explodes_at(noisy(FALLING + [level] * 100))
    assert found is not None
    assert len(FALLING) + PATIENCE <= found <= len(FALLING) + PATIENCE + WINDOW


@pytest.mark.parametrize(
    ("max_steps", "logging_steps"), [(60, 1), (60, 10), (60, 100), (8, 1), (8, 100)]
)
def test_a_run_whose_loss_explodes_in_its_first_steps_fails_whatever_is_logged(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    max_steps: int,
    logging_steps: int,
) -> None:
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=tiny_model,
        data_path=some_examples(tmp_path / "talks.json", 30),
        learning_rate=20,
        lr_scheduler_type="constant",
        max_grad_norm=0,
        max_steps=max_steps,
        logging_steps=logging_steps,
    )
    failure = finished.failure()
    assert failure is not None, finished.log
    assert (failure.code, failure.param) == (FailureCode.LOSS_EXPLOSION, "learning_rate")
    assert "expected less than " in failure.message
    assert "guessing each token" in failure.message
    assert "A lower learning_rate" in failure.message
    assert not (finished.output_dir / "model.safetensors").exists()


def test_an_evaluation_loss_that_explodes_alone_ends_the_run() -> None:
    guard = LossSpikeGuard()
    state = TrainerState(max_steps=100, log_history=[])
    arguments: Any = {"args": None, "state": state, "control": TrainerControl()}
    guard.on_train_begin(
        **arguments, model=SimpleNamespace(config=SimpleNamespace(vocab_size=PIECES))
    )
    for step in (5, 10):
        state.global_step = step
        guard.on_log(**arguments, logs={"loss": 2.0})
        guard.on_log(**arguments, logs={"eval_loss": 2.2 if step == 5 else 700.0})
    state.global_step = 15
    with pytest.raises(TrainingError, match=r"eval_loss is 700\.00, and for 10 steps"):
        guard.on_log(**arguments, logs={"eval_loss": 700.0})
