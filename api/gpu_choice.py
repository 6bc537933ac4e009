"""Selection of the GPU that a plan assumes."""

from collections.abc import Sequence
from dataclasses import dataclass

from flant5_train.config import Hyperparameters
from worker.jobs.store.workers import WorkerState

STATED = "stated"
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """Memory of one GPU, and the source of this figure."""

    num_bytes: int
    source: str
    """`stated`, or the name of a worker."""


def gpu_for(
    hyperparameters: Hyperparameters, workers: Sequence[WorkerState], *, stated_gib: float | None
) -> Gpu | None:
    """Returns the stated GPU. Otherwise takes the workers with the largest GPUs that could train
    the job together, and returns the smallest GPU among them. None if no worker reports a GPU."""
    if stated_gib is not None:
        return Gpu(int(stated_gib * _GIB), STATED)
    told = [
        Gpu(worker.gpu_bytes, worker.name)
        for worker in workers
        if worker.gpu_bytes is not None and worker.num_slots >= hyperparameters.num_gpus
    ]
    told.sort(key=lambda gpu: (-gpu.num_bytes, gpu.source))
    return told[min(len(told), hyperparameters.num_nodes) - 1] if told else None
