"""Timing of a trainer run, from its `progress.jsonl`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Self

from flant5_train.protocol.progress import StepTrained, read_records
from worker.jobs.storage.paths import RunDirectory

BLOCK_STEPS = 10
"""Steps timed together, so that work done a few times a second falls into each block."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """Timing of one run. The clock starts at the POST of its job, or at torchrun's start."""

    directory: Path
    first_step_seconds: float
    """Seconds until the end of the first step."""
    block_seconds: tuple[float, ...]
    """Seconds of each block of steps after the first step, in order."""
    loss: float
    """Loss of the last step."""

    @classmethod
    def read(cls, directory: Path, *, began_at: float) -> Self:
        """Reads a run that logged each step. `began_at` is in Unix seconds."""
        records = read_records(RunDirectory(directory).progress)
        steps = [each for each in records if isinstance(each, StepTrained)]
        assert [each.step for each in steps] == [*range(1, len(steps) + 1)], directory
        assert len(steps) > BLOCK_STEPS, f"{len(steps)} steps; expected more than {BLOCK_STEPS}"
        bounds = [each.at for each in steps[::BLOCK_STEPS]]
        return cls(
            directory=directory,
            first_step_seconds=steps[0].at - began_at,
            block_seconds=tuple(end - begin for begin, end in pairwise(bounds)),
            loss=steps[-1].loss,
        )


def mean_blocks(runs: Sequence[TrainingRun]) -> list[float]:
    """Returns the mean seconds of each block over runs on the same data."""
    return [fmean(block) for block in zip(*(run.block_seconds for run in runs), strict=True)]


def steps_per_second(runs: Sequence[TrainingRun]) -> float:
    """Returns the speed of the median block, which ignores pauses of the machine."""
    return BLOCK_STEPS / median(mean_blocks(runs))


def speed_ratio(ours: Sequence[TrainingRun], theirs: Sequence[TrainingRun]) -> float:
    """Returns our steps per second divided by theirs.

    It is the median over blocks, each compared with the block of the same steps.
    """
    pairs = zip(mean_blocks(ours), mean_blocks(theirs), strict=True)
    return median(other / own for own, other in pairs)
