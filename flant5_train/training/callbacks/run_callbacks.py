"""The callbacks of a run."""

from transformers import TrainerCallback

from flant5_train.training.callbacks.disk_space import RequireRoom
from flant5_train.training.callbacks.early_stopping import SaveBest, Selection, StopEarly
from flant5_train.training.callbacks.guards import (
    RefuseBrokenLoss,
    RefuseExplodedLoss,
    RefuseZeroLearningRate,
)
from flant5_train.training.callbacks.reporting import Report, ReportSteps, StopWhenTold
from flant5_train.training.stopping import StopSignal


def callbacks_of(
    selection: Selection, report: Report, stop: StopSignal, *, num_pairs: int
) -> list[TrainerCallback]:
    """Returns the callbacks in the order of their calls."""
    chosen: list[TrainerCallback] = [
        RequireRoom(),
        RefuseBrokenLoss(),
        RefuseZeroLearningRate(),
        StopWhenTold(stop, report),
        ReportSteps(report, num_pairs=num_pairs),
        RefuseExplodedLoss(),  # after ReportSteps, which reports the last loss
    ]
    if selection.keeps_best:
        chosen.append(SaveBest())
    if selection.early_stopping.patience:
        chosen.append(StopEarly(selection.early_stopping, report))
    return chosen
