"""Evaluations of a run so far, from the log history in the trainer's state.

All decisions use this history alone. It is saved with each checkpoint and equal in all processes:
a resumed run decides like an uninterrupted one, and all processes decide alike.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flant5_train.training.checkpoints import complete_checkpoints, step_of


def eval_losses(log_history: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """Returns the loss of each evaluation by its step, in order."""
    return {
        int(entry["step"]): float(entry["eval_loss"])
        for entry in log_history
        if "eval_loss" in entry
    }


def best_step(losses: Mapping[int, float]) -> int | None:
    """Returns the step with the lowest loss (the first of equal ones); None if there is none."""
    return min(losses, key=losses.__getitem__, default=None)


def best_checkpoint(output_dir: Path, losses: Mapping[int, float]) -> Path | None:
    """Returns the evaluated, complete checkpoint with the lowest loss; None if there is none."""
    evaluated = {
        step_of(path): path for path in complete_checkpoints(output_dir) if step_of(path) in losses
    }
    step = best_step({step: losses[step] for step in sorted(evaluated)})
    return None if step is None else evaluated[step]


def num_evaluations_without_gain(losses: Iterable[float], *, threshold: float) -> int:
    """Returns the number of losses since the last gain. A gain is a loss below the best one so far
    by more than `threshold`; the first loss is always one.

    [3.0, 2.0, 1.95, 2.1] with a threshold of 0.1 -> 2
    """
    best, count = math.inf, 0
    for loss in losses:
        if loss < best - threshold:
            best, count = loss, 0
        else:
            count += 1
    return count
