"""History of a run, read from its `progress.jsonl` for the model card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from flant5_train.kept_steps import KeptSteps
from flant5_train.protocol.progress import (
    BestChosen,
    DataRead,
    Evaluated,
    PhaseChange,
    Record,
    StepTrained,
    StoppedEarly,
    TrainingStarted,
    parse_record,
)


@dataclass(frozen=True, slots=True)
class History:
    """Effective steps and evaluations of a run, without work that was lost and repeated."""

    steps: tuple[StepTrained, ...]
    evaluations: tuple[Evaluated, ...]
    data: Mapping[str, Mapping[str, object]]
    """The report of each split."""
    start: TrainingStarted | None
    best: BestChosen | None
    early_stop: StoppedEarly | None

    @classmethod
    def read(cls, path: Path) -> "History":
        records = _last_run(_records(path))
        kept = KeptSteps()
        for record in records:
            kept.take(record)
        return cls(
            steps=tuple(kept.steps.values()),
            evaluations=tuple(kept.evaluations.values()),
            data={each.split: each.report for each in records if isinstance(each, DataRead)},
            start=_last(TrainingStarted, records),
            best=_last(BestChosen, records),
            early_stop=_last(StoppedEarly, records),
        )

    @property
    def of_model(self) -> Evaluated | None:
        """The evaluation of the final weights; None when there was none."""
        step = self.best.step if self.best else self.steps[-1].step if self.steps else None
        found = [evaluation for evaluation in self.evaluations if evaluation.step == step]
        return found[-1] if found else None


Found = TypeVar("Found", TrainingStarted, BestChosen, StoppedEarly)


def _last(kind: type[Found], records: list[Record]) -> Found | None:
    found = [record for record in records if isinstance(record, kind)]
    return found[-1] if found else None


def _last_run(records: list[Record]) -> list[Record]:
    """Drops the records of earlier runs in the directory that this run did not resume."""
    starts = [
        index
        for index, record in enumerate(records)
        if isinstance(record, TrainingStarted) and record.step == 0
    ]
    begins = [
        index
        for index, record in enumerate(records[: starts[-1]] if starts else [])
        if isinstance(record, PhaseChange) and record.phase == "preprocessing"
    ]
    return records[begins[-1] :] if begins else records


def _records(path: Path) -> list[Record]:
    found = []
    with path.open("rb") as file:
        for line in file:
            try:
                found.append(parse_record(line))
            except ValidationError:
                # A truncated line, or one of another version. An incomplete card is better than a
                # lost model.
                continue
    return found
