from pathlib import Path

import pytest

from flant5_train.training.callbacks.early_stopping import (
    EarlyStopping,
    best_checkpoint,
    best_step,
    eval_losses,
    num_evaluations_without_gain,
)
from flant5_train.training.checkpoints import MARKER, complete_checkpoints, remove_old_checkpoints

HISTORY = [
    {"step": 10, "loss": 3.0},
    {"step": 10, "eval_loss": 3.0},
    {"step": 20, "eval_loss": 2.0},
    {"step": 30, "eval_loss": 2.5},
    {"step": 40, "eval_loss": 2.0},
    {"step": 40, "train_loss": 2.2},
]


def checkpoints(output_dir: Path, *steps: int) -> None:
    for step in steps:
        (output_dir / f"checkpoint-{step}").mkdir(parents=True)
        (output_dir / f"checkpoint-{step}" / MARKER).touch()


def test_the_first_of_equal_evaluations_is_the_best() -> None:
    losses = eval_losses(HISTORY)
    assert losses == {10: 3.0, 20: 2.0, 30: 2.5, 40: 2.0}
    assert best_step(losses) == 20
    assert best_step({}) is None


def test_only_a_complete_checkpoint_that_was_evaluated_can_be_the_best(tmp_path: Path) -> None:
    losses = eval_losses(HISTORY)
    assert best_checkpoint(tmp_path, losses) is None
    checkpoints(tmp_path, 30, 35)
    (tmp_path / "checkpoint-20").mkdir()
    assert best_checkpoint(tmp_path, losses) == tmp_path / "checkpoint-30"
    checkpoints(tmp_path, 40)
    assert best_checkpoint(tmp_path, losses) == tmp_path / "checkpoint-40"


def test_the_best_checkpoint_outlives_the_newest(tmp_path: Path) -> None:
    checkpoints(tmp_path, 10, 20, 30, 40)
    remove_old_checkpoints(tmp_path, keep=1, best=tmp_path / "checkpoint-20")
    assert [path.name for path in complete_checkpoints(tmp_path)] == [
        "checkpoint-20",
        "checkpoint-40",
    ]


@pytest.mark.parametrize(
    ("losses", "threshold", "count"),
    [
        ([], 0.0, 0),
        ([3.0], 0.5, 0),
        ([3.0, 2.0, 1.95, 2.1], 0.1, 2),
        ([3.0, 2.0, 1.95, 2.1], 0.0, 1),
        ([3.0, 3.0, 3.0], 0.0, 2),
        # Small gains add up: 2.92 is 0.08 below 3.0, 2.85 is 0.15 below.
        ([3.0, 2.92, 2.85], 0.1, 0),
        ([2.0, 5.0, 1.0], 0.0, 0),
    ],
)
def test_evaluations_without_a_gain_are_counted(
    losses: list[float], threshold: float, count: int
) -> None:
    assert num_evaluations_without_gain(losses, threshold=threshold) == count


def test_a_patience_of_0_never_stops() -> None:
    assert not EarlyStopping().is_due(HISTORY)
    assert not EarlyStopping(patience=3).is_due(HISTORY)
    assert EarlyStopping(patience=2).is_due(HISTORY)
