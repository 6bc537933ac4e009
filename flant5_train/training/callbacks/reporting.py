"""Trainer callbacks: progress reports and graceful stop."""

import time
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

from flant5_train.protocol.progress import PhaseChange, Record, StepTrained, TrainingStarted
from flant5_train.training.stopping import StopSignal
from flant5_train.training.telemetry import device_peak_flops, take_peak_memory


class Report(Protocol):
    """Sink of progress records: `progress.jsonl` on rank 0, none on other ranks."""

    def __call__(self, record: Record, /) -> None: ...


def discard(record: Record, /) -> None:
    """Drops a record; the report of all ranks except 0."""


class ReportSteps(TrainerCallback):
    """Reports the start of training and every logged step."""

    def __init__(self, report: Report, *, num_pairs: int) -> None:
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


class StopWhenTold(TrainerCallback):
    """Saves a checkpoint and stops training at the end of the step in which SIGTERM arrived."""

    def __init__(self, stop: StopSignal, report: Report) -> None:
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
