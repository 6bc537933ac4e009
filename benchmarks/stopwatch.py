"""Wall and CPU seconds of a benchmark's own process."""

import os
import time
from dataclasses import dataclass, field
from typing import Self


def _processor_seconds() -> float:
    """Returns the CPU seconds of this process and of its ended children."""
    return sum(os.times()[:4])


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Stopwatch that starts when it is created."""

    wall: float = field(default_factory=time.monotonic)
    processor: float = field(default_factory=_processor_seconds)

    def lap(self) -> Self:
        """Returns the seconds so far."""
        return type(self)(time.monotonic() - self.wall, _processor_seconds() - self.processor)
