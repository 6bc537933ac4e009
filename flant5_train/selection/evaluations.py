"""The evaluations of a run so far, as its trainer's state remembers them.

Everything is decided from this alone: it is saved with each checkpoint and the same in all
processes, so that a resumed run decides as an uninterrupted one, and all processes alike.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flant5_train.checkpoints import complete_checkpoints, step_of


def eval_losses(log_history: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """The loss of each evaluation by its step, in order."""
    return {
        int(entry["step"]): float(entry["eval_loss"])
        for entry in log_history
        if "eval_loss" in entry
    }


def best_step(losses: Mapping[int, float]) -> int | None:
    """The step with the lowest loss, the first of several; None without evaluations."""
    return min(losses, key=losses.__getitem__, default=None)


def best_checkpoint(output_dir: Path, losses: Mapping[int, float]) -> Path | None:
    """The complete checkpoint with the lowest loss, of those that were evaluated."""
    evaluated = {
        step_of(path): path for path in complete_checkpoints(output_dir) if step_of(path) in losses
    }
    step = best_step({step: losses[step] for step in sorted(evaluated)})
    return None if step is None else evaluated[step]


def num_evaluations_without_gain(losses: Iterable[float], *, threshold: float) -> int:
    """Returns how many of the last losses in a row are not below the best one before them by more
    than `threshold`. The first one is a gain.

    [3.0, 2.0, 1.95, 2.1] with a threshold of 0.1 -> 2
    """
    best, count = math.inf, 0
    for loss in losses:
        if loss < best - threshold:
            best, count = loss, 0
        else:
            count += 1
    return count
