import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from flant5_train.failure import FailureCode
from flant5_train.guards.loss_explosion import PATIENCE, WINDOW, LossTrend
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


@pytest.mark.parametrize("level", [7.0, 10.0, 500.0])
def test_a_loss_that_has_left_for_good_is_an_explosion(level: float) -> None:
    """7.0: all that such a model still knows is how frequent each piece is."""
    found = explodes_at(noisy(FALLING + [level] * 100))
    assert found is not None
    assert len(FALLING) + PATIENCE <= found <= len(FALLING) + PATIENCE + WINDOW


def test_a_run_whose_loss_explodes_ends_with_the_reason(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=tiny_model,
        data_path=some_examples(tmp_path / "talks.json", 30),
        learning_rate=20,
        warmup_ratio=0.99,
        max_grad_norm=0,
        max_steps=70,
    )
    failure = finished.failure()
    assert failure is not None, finished.log
    assert (failure.code, failure.param) == (FailureCode.LOSS_EXPLOSION, "learning_rate")
    last = finished.steps()[-1].step
    assert f"the loss has exploded: at step {last} of 70 it is " in failure.message
    assert "A lower learning_rate" in failure.message
