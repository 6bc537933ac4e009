"""Wall and processor seconds of what a benchmark's own process does."""

import os
import time
from dataclasses import dataclass, field
from typing import Self


def _processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Runs from when it is made."""

    wall: float = field(default_factory=time.monotonic)
    processor: float = field(default_factory=_processor_seconds)

    def lap(self) -> Self:
        """The seconds so far."""
        return type(self)(time.monotonic() - self.wall, _processor_seconds() - self.processor)
