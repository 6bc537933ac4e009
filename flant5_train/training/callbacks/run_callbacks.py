"""The callbacks of a run."""

from transformers import TrainerCallback

from flant5_train.training.callbacks.disk_space import DiskSpaceGuard
from flant5_train.training.callbacks.early_stopping import CheckpointSelector, SaveBest, StopEarly
from flant5_train.training.callbacks.guards import (
    LossSpikeGuard,
    NonFiniteLossGuard,
    ZeroLearningRateGuard,
)
from flant5_train.training.callbacks.reporting import (
    GracefulStopCallback,
    ProgressSink,
    ReportSteps,
)
from flant5_train.training.stopping import StopSignal


def callbacks_of(
    selection: CheckpointSelector, report: ProgressSink, stop: StopSignal, *, num_pairs: int
) -> list[TrainerCallback]:
    """Returns the callbacks in the order of their calls."""
    chosen: list[TrainerCallback] = [
        DiskSpaceGuard(),
        NonFiniteLossGuard(),
        ZeroLearningRateGuard(),
        GracefulStopCallback(stop, report),
        ReportSteps(report, num_pairs=num_pairs),
        LossSpikeGuard(),  # after ReportSteps, which reports the last loss
    ]
    if selection.keeps_best:
        chosen.append(SaveBest())
    if selection.early_stopping.patience:
        chosen.append(StopEarly(selection.early_stopping, report))
    return chosen
