"""The curves of a run for TensorBoard, drawn from the records of `flant5_train.progress`.

    <run directory>/tensorboard/events.out.tfevents.0000000002     written by the second start

torch's SummaryWriter writes in a thread of its own: what that has in hand is lost with a killed
process, so that a resumed curve has a hole, and a full disk comes to light later or never. Here
each event is in its file when `append` returns. A start has a file of its own and says in it from
which step on the earlier ones are void. TensorBoard reads files in the order of their names: these
have numbers, since clocks of two hosts need not agree.
"""

from pathlib import Path
from typing import BinaryIO

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from flant5_train.curves import curves
from flant5_train.progress import Evaluated, Record, StepTrained, TrainingStarted

_PREFIX = "events.out.tfevents."
_VERSION = "brain.Event:2"


class EventFiles:
    """Appends what has a place in a curve. Each start of a run begins a new file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: BinaryIO | None = None

    def append(self, record: Record) -> None:
        """Raises OSError when the disk is full."""
        if isinstance(record, TrainingStarted):
            self._begin(record)
        elif isinstance(record, StepTrained | Evaluated):
            values = [Summary.Value(tag=tag, simple_value=v) for tag, v in curves(record).items()]
            self._write(Event(wall_time=record.at, step=record.step, summary=Summary(value=values)))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _begin(self, start: TrainingStarted) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        earlier = [int(path.name.removeprefix(_PREFIX)) for path in event_files(self._directory)]
        self._file = (self._directory / f"{_PREFIX}{max(earlier, default=0) + 1:010}").open("xb")
        self._write(Event(wall_time=start.at, file_version=_VERSION))
        # What was drawn of later steps is void: they are trained again.
        void = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=start.at, step=start.step + 1, session_log=void))

    def _write(self, event: Event) -> None:
        assert self._file is not None, "training has started before it has results"
        RecordWriter(self._file).write(event.SerializeToString())
        self._file.flush()


def event_files(directory: Path) -> list[Path]:
    """Oldest first."""
    return sorted(directory.glob(f"{_PREFIX}*"))
