"""Trainer heartbeat: updates the time of `progress.jsonl` between records.

Without it, the worker would treat long steps as a stalled run (`worker.attempts.silence`).
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

PAUSE_SECONDS = 1.0
"""Minimum time between heartbeats; small models run many steps per second."""


class SignOfLife(TrainerCallback):
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
