"""The curves of a run as they grow in `progress.jsonl`, one clean run of them.

A run that was paused or killed trains the steps since its checkpoint again and tells them again.
Trackers can't take a point back, and the same steps have the same losses: each point is told as it
was the first time, whoever reads the file however often.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flant5_train.curves import curves
from flant5_train.progress import DataRead, Evaluated, Record, StepTrained, parse_record


@dataclass(frozen=True, slots=True)
class Step:
    """All points of one optimizer step."""

    number: int
    at: float
    """When the first of them was told, in Unix seconds."""
    points: dict[str, float]


class CurveReader:
    """Reads on from where it stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._open: Step | None = None
        self.data: dict[str, object] = {}
        """Summaries of the data as far as they were told, by split."""

    def read(self) -> Iterator[Step]:
        """The steps that are complete and were not given before: each but the last one. Raises
        OSError, and ValueError for a line that is no record."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for record in self._records(file):
                yield from self._take(record)

    def rest(self) -> Iterator[Step]:
        """The last step, when nothing more comes."""
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
    """Nested numbers and texts by dotted names.

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
