"""TensorBoard event files, written from the records of `flant5_train.protocol.progress`.

    <run directory>/tensorboard/events.out.tfevents.0000000002     written by the second start

torch's SummaryWriter writes in its own thread. A killed process loses the buffered events, which
leaves a gap in a resumed curve, and a full disk is reported late or never. Here `append` returns
after the event is in the file. Each start has its own file, which marks later steps of earlier
files as void. TensorBoard reads files in name order. The names contain numbers instead of times,
because the clocks of two hosts may differ.
"""

from pathlib import Path
from typing import BinaryIO

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from flant5_train.protocol.metrics import curves
from flant5_train.protocol.progress import Evaluated, Record, StepTrained, TrainingStarted

_PREFIX = "events.out.tfevents."
_VERSION = "brain.Event:2"


class EventFiles:
    """Appends the points of curves. Each start of a run begins a new file."""

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
        # Later steps are trained again: their earlier points are void.
        void = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=start.at, step=start.step + 1, session_log=void))

    def _write(self, event: Event) -> None:
        assert self._file is not None, "training has started before it has results"
        RecordWriter(self._file).write(event.SerializeToString())
        self._file.flush()


def event_files(directory: Path) -> list[Path]:
    """Returns the event files of a directory, oldest first."""
    return sorted(directory.glob(f"{_PREFIX}*"))
