"""Loss sparklines for the list of jobs, sampled at 40 places of `progress.jsonl`.

The cost of a sparkline does not depend on the length of the file.
"""

import math
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from flant5_train.protocol.progress import StepTrained, parse_record

WIDTH, HEIGHT = 120, 28
_NUM_PLACES = 40
_SPAN_BYTES = 2048
"""Bytes read at each place: enough lines of half a kilobyte to contain a training step."""
_MAX_KEPT = 2000


class Sparklines:
    """Cache of sparklines. A file is read again only after it has grown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, tuple[int, str]] = OrderedDict()

    def of(self, path: Path) -> str:
        """Returns the `points` of an SVG polyline of WIDTH x HEIGHT; '' before two steps."""
        try:
            num_bytes = path.stat().st_size
        except FileNotFoundError:
            return ""
        with self._lock:
            kept = self._kept.get(path)
        if kept is not None and kept[0] == num_bytes:
            return kept[1]
        points = drawn(sampled_losses(path, num_bytes))
        with self._lock:
            self._kept[path] = (num_bytes, points)
            self._kept.move_to_end(path)
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return points


def sampled_losses(path: Path, num_bytes: int) -> dict[int, float]:
    """Returns losses by step, sampled at evenly spaced places of the file."""
    losses: dict[int, float] = {}
    with path.open("rb") as file:
        if num_bytes <= _NUM_PLACES * _SPAN_BYTES:
            places = [(0, num_bytes)]
        else:
            stride = (num_bytes - _SPAN_BYTES) / (_NUM_PLACES - 1)
            places = [(int(place * stride), _SPAN_BYTES) for place in range(_NUM_PLACES)]
        for start, span in places:
            for step, loss in _steps_at(file, start, span):
                losses[step] = loss
    return dict(sorted(losses.items()))


def _steps_at(file: BinaryIO, start: int, span: int) -> list[tuple[int, float]]:
    file.seek(start, os.SEEK_SET)
    lines = file.read(span).split(b"\n")
    found = []
    # The last line is incomplete. So is the first, unless it is the start of the file.
    for line in lines[:-1] if start == 0 else lines[1:-1]:
        try:
            record = parse_record(line)
        except ValidationError:
            continue
        if isinstance(record, StepTrained) and math.isfinite(record.loss):
            found.append((record.step, record.loss))
    return found


def drawn(losses: dict[int, float]) -> str:
    """
    >>> drawn({1: 4.0, 2: 3.0, 3: 2.0})
    '0.0,1.0 60.0,14.0 120.0,27.0'
    """
    if len(losses) < 2:
        return ""
    items = list(losses.items())
    kept = items[:: max(1, len(items) // 60)]
    steps, values = [step for step, _ in kept], [loss for _, loss in kept]
    width, low = steps[-1] - steps[0], min(values)
    height = (max(values) - low) or 1.0
    return " ".join(
        f"{(step - steps[0]) / width * WIDTH:.1f},"
        f"{HEIGHT - 1 - (loss - low) / height * (HEIGHT - 2):.1f}"
        for step, loss in kept
    )
