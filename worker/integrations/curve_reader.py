"""Reads the growing curves of a run from `progress.jsonl`, without repeated steps.

A run that was paused or killed repeats the steps since its checkpoint, with the same losses.
Trackers cannot retract points. So each step is returned as first recorded, in every reader and on
every pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flant5_train.protocol.metrics import curves
from flant5_train.protocol.progress import DataRead, Evaluated, Record, StepTrained, parse_record


@dataclass(frozen=True, slots=True)
class Step:
    """All points of one optimizer step."""

    number: int
    at: float
    """Time of the first point, in Unix seconds."""
    points: dict[str, float]


class CurveReader:
    """Incremental reader. Each read continues where the last one stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._open: Step | None = None
        self.data: dict[str, object] = {}
        """Data summaries read so far, by split."""

    def read(self) -> Iterator[Step]:
        """Yields new complete steps: all but the last one in the file.

        Raises OSError, and ValueError for an invalid line.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for record in self._records(file):
                yield from self._take(record)

    def rest(self) -> Iterator[Step]:
        """Yields the last step. Call it once the file is complete."""
        if self._open is not None:
            yield self._open

    def _records(self, file: BinaryIO) -> Iterator[Record]:
        file.seek(self._offset)
        for line in file:
            if not line.endswith(b"\n"):
                return  # still being written
            self._offset += len(line)
            yield parse_record(line)

    def _take(self, record: Record) -> Iterator[Step]:
        if isinstance(record, DataRead):
            self.data = self.data | {record.split: record.report}
        if not isinstance(record, StepTrained | Evaluated):
            return
        last, points = self._open, dict(curves(record))
        if last is None or record.step > last.number:
            self._open = Step(record.step, record.at, points)
            if last is not None:
                yield last
        elif record.step == last.number:
            self._open = Step(last.number, last.at, points | last.points)


def flat(report: object, *, prefix: str) -> dict[str, str]:
    """Flattens nested numbers and texts to dotted names.

    flat({"pairs": 3, "left_out": {"empty": 1}}, prefix="data.train")
    -> {"data.train.pairs": "3", "data.train.left_out.empty": "1"}
    """
    if isinstance(report, dict):
        return {
            name: value
            for key, part in report.items()
            for name, value in flat(part, prefix=f"{prefix}.{key}").items()
        }
    if isinstance(report, list | tuple) or report is None:
        return {}
    return {prefix: str(report)}
