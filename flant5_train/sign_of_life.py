"""A training that goes on says so between two records of `progress.jsonl`, by that file's time; who
hears nothing for long may take it for hung (`worker.attempts.silence`)."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments

PAUSE_SECONDS = 1.0
"""Time between two signs at least; steps of small models are many in a second."""


class SignOfLife(TrainerCallback):
    """Touches the file after each step and each part of one, as rank 0."""

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
            # A file server may be away for a moment, which is no reason to end a run.
            with suppress(OSError):
                os.utime(self._progress)
            self._due_at = now + PAUSE_SECONDS
