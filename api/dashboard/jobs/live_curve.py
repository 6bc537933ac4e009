"""Incremental reader of a job's curve: each refresh reads only new lines of `progress.jsonl`.

`api.curve` reads the whole file for each request, but an open page polls continually. The rules
are the same: a resume drops the steps after its checkpoint until they are trained again.
"""

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flant5_train.protocol.progress import Evaluated, StepTrained, TrainingStarted, parse_record

TRAIN = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "gpu_memory_bytes")
EVALUATION = ("eval_loss", "eval_token_accuracy", "eval_exact_match", "eval_rouge_l")
SMOOTHED = "smoothed"
_SMOOTHED_OF = {
    "loss": SMOOTHED,
    "grad_norm": "smoothed_grad_norm",
    "tokens_per_second": "smoothed_tokens_per_second",
}
SMOOTH = tuple(_SMOOTHED_OF.values())
"""Columns derived from others by smoothing."""
_WEIGHT = 0.05
_MAX_KEPT = 32
_CHUNK_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class Column:
    """Values by step, in step order; NaN for steps without a value."""

    steps: Sequence[float]
    values: Sequence[float]
    generation: int
    """Changes when earlier rows were dropped because the run resumed from a checkpoint."""


class LiveCurve:
    """The curve in one file. Eight bytes per number: a run of 100,000 steps takes 6 MB."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._offset = 0
        self._generation = 0
        self._max_steps = 0
        self._steps = {"train": array("d"), "eval": array("d")}
        self._values = {name: array("d") for name in (*TRAIN, *SMOOTH, *EVALUATION)}

    def refresh(self) -> None:
        """Reads the lines written since the last call."""
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    file.seek(self._offset)
                    # In chunks: the file of a long run may not fit in memory.
                    while piece := file.read(_CHUNK_BYTES):
                        whole, end, _ = piece.rpartition(b"\n")
                        if not end:
                            break
                        self._offset += len(whole) + 1
                        file.seek(self._offset)
                        self._take(whole)
            except FileNotFoundError:
                return

    def column(self, name: str) -> Column:
        """Returns a copy, which is safe to read while the curve grows."""
        with self._lock:
            steps = self._steps["eval" if name in EVALUATION else "train"]
            return Column(array("d", steps), array("d", self._values[name]), self._generation)

    @property
    def max_steps(self) -> int:
        """Total steps of the run; 0 before it has begun."""
        return self._max_steps

    def _take(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            try:
                record = parse_record(line)
            except ValidationError:
                continue  # `num_malformed_lines` of the API counts them
            if isinstance(record, TrainingStarted):
                self._max_steps = record.max_steps
                self._cut(record.step)
            elif isinstance(record, StepTrained):
                self._append("train", record, TRAIN)
            elif isinstance(record, Evaluated):
                self._append("eval", record, EVALUATION)

    def _append(self, kind: str, record: StepTrained | Evaluated, names: tuple[str, ...]) -> None:
        if self._steps[kind] and self._steps[kind][-1] >= record.step:
            self._drop(kind, bisect_left(self._steps[kind], record.step))
        self._steps[kind].append(record.step)
        for name in names:
            value = getattr(record, name)
            self._values[name].append(math.nan if value is None else float(value))
        if kind == "train":
            for name, smooth in _SMOOTHED_OF.items():
                self._values[smooth].append(_next(self._values[smooth], self._values[name][-1]))

    def _cut(self, step: int) -> None:
        for kind, steps in self._steps.items():
            self._drop(kind, bisect_right(steps, step))

    def _drop(self, kind: str, first: int) -> None:
        """Drops the rows from `first` on."""
        if first == len(self._steps[kind]):
            return
        self._generation += 1
        names = EVALUATION if kind == "eval" else (*TRAIN, *SMOOTH)
        for column in (self._steps[kind], *(self._values[name] for name in names)):
            del column[first:]


def _next(before: Sequence[float], value: float) -> float:
    """Returns the next smoothed value: the mean of the first 20, then an exponential average."""
    if not before or not math.isfinite(before[-1]) or not math.isfinite(value):
        return value
    weight = max(_WEIGHT, 1 / (len(before) + 1))
    return before[-1] + weight * (value - before[-1])


class CurveShelf:
    """LRU cache of curves, shared by all browsers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._curves: OrderedDict[Path, LiveCurve] = OrderedDict()

    def get(self, path: Path) -> LiveCurve:
        """Returns the up-to-date curve of this file."""
        with self._lock:
            curve = self._curves.pop(path, None) or LiveCurve(path)
            self._curves[path] = curve
            while len(self._curves) > _MAX_KEPT:
                self._curves.popitem(last=False)
        curve.refresh()
        return curve
