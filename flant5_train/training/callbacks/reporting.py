"""Progress reports of a run, heartbeat, and graceful stop.

The trainer's callbacks report the start and each logged step. A heartbeat updates the time of
`progress.jsonl` between records. Without it, the worker would treat long steps as a stalled run
(`worker.execution.monitor`).

`EventFiles` writes the same records for TensorBoard:

    <run directory>/tensorboard/events.out.tfevents.0000000002     written by the second start

torch's SummaryWriter writes in its own thread. A killed process loses the buffered events, which
leaves a gap in a resumed curve, and a full disk is reported late or never. Here `append` returns
after the event is in the file. Each start has its own file, which marks later steps of earlier
files as void. TensorBoard reads files in name order. The names contain numbers instead of times,
because the clocks of two hosts may differ.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

from flant5_train.protocol.metrics import curves
from flant5_train.protocol.progress import (
    Evaluated,
    PhaseChange,
    Record,
    StepTrained,
    TrainingStarted,
)
from flant5_train.training.stopping import StopSignal
from flant5_train.training.telemetry import device_peak_flops, take_peak_memory


class ProgressSink(Protocol):
    """Sink of progress records: `progress.jsonl` on rank 0, none on other ranks."""

    def __call__(self, record: Record, /) -> None: ...


def ignore_record(record: Record, /) -> None:
    """Drops a record; the report of all ranks except 0."""


class ReportSteps(TrainerCallback):
    """Reports the start of training and every logged step."""

    def __init__(self, report: ProgressSink, *, num_pairs: int) -> None:
        self._report = report
        self._num_pairs = num_pairs
        self._began_at = 0.0
        self._began_step = 0
        self._last_at = 0.0
        self._last_tokens = 0

    def on_train_begin(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._began_at = self._last_at = time.monotonic()
        self._began_step = state.global_step
        self._last_tokens = int(state.num_input_tokens_seen)
        self._report(
            TrainingStarted(
                step=state.global_step,
                max_steps=state.max_steps,
                num_pairs=self._num_pairs,
                num_processes=args.world_size,
            )
        )
        self._report(PhaseChange(phase="training"))

    def on_log(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        now = time.monotonic()
        tokens = int(state.num_input_tokens_seen)
        seconds = max(now - self._last_at, 1e-9)
        flops_per_second = logs["flops"] / seconds
        peak = device_peak_flops(args.device)
        seconds_per_step = (now - self._began_at) / max(1, state.global_step - self._began_step)
        self._report(
            StepTrained(
                step=state.global_step,
                max_steps=state.max_steps,
                epoch=state.epoch or 0.0,
                loss=logs["loss"],
                learning_rate=logs["learning_rate"],
                grad_norm=logs.get("grad_norm"),
                tokens_seen=tokens,
                tokens_per_second=(tokens - self._last_tokens) / seconds,
                source_fill=logs["source_fill"],
                target_fill=logs["target_fill"],
                tflops=flops_per_second / 1e12,
                mfu=flops_per_second / (peak * args.world_size) if peak else None,
                gpu_memory_bytes=take_peak_memory(args.device),
                eta_seconds=(state.max_steps - state.global_step) * seconds_per_step,
            )
        )
        self._last_at = now
        self._last_tokens = tokens


class GracefulStopCallback(TrainerCallback):
    """Saves a checkpoint and stops training at the end of the step in which SIGTERM arrived."""

    def __init__(self, stop: StopSignal, report: ProgressSink) -> None:
        self._stop = stop
        self._report = report

    def on_train_begin(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._stop.defer()

    def on_step_end(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if self._stop.agreed():
            self._report(PhaseChange(phase="stopping"))
            control.should_save = True
            control.should_log = True
            control.should_training_stop = True


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


PAUSE_SECONDS = 1.0
"""Minimum time between heartbeats; small models run many steps per second."""


class HeartbeatCallback(TrainerCallback):
    """Touches the progress file on rank 0 after each step and each micro-step."""

    def __init__(self, progress: Path) -> None:
        self._progress = progress
        self._due_at = 0.0

    def on_step_end(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._give(state)

    def on_substep_end(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._give(state)

    def _give(self, state: TrainerState) -> None:
        now = time.monotonic()
        if state.is_world_process_zero and now >= self._due_at:
            # A file server may be briefly unavailable, which must not end a run.
            with suppress(OSError):
                os.utime(self._progress)
            self._due_at = now + PAUSE_SECONDS
