"""State of a watched job, accumulated from its events."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from api.cli.client import Json
from api.cli.views.charts import LossCurve
from api.cli.views.format import duration

_MAX_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class Message:
    """A message to show. `level` is info, warn or error; note for messages of this program."""

    text: str
    level: str


@dataclass(slots=True)
class WatchedJob:
    """State of a job. Feed it the job's events, oldest first."""

    id: str
    model: str
    status: str = ""
    phase: str = ""
    attempt: int = 0
    loss: LossCurve = field(default_factory=LossCurve)
    eval_loss: LossCurve = field(default_factory=LossCurve)
    step: Json | None = None
    """Metrics of the last reported step."""
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=_MAX_MESSAGES))
    is_server_away: bool = False
    _step_told_at: float = 0.0

    @classmethod
    def of(cls, job: Json) -> "WatchedJob":
        """Returns the state before the first event."""
        return cls(id=job["id"], model=job["model"], status=job["status"])

    def take(self, event: Json) -> None:
        """Applies the next event."""
        data = event["data"]
        self._take_state(data)
        if "num_pairs" in data:  # a start or resume repeats the steps after its checkpoint
            for curve in (self.loss, self.eval_loss):
                curve.cut(data["step"])
        if event["type"] != "metrics":
            self.messages.append(Message(event["message"], event["level"]))
        elif "eval_loss" in data:
            self.eval_loss.put(data["step"], data["eval_loss"])
            self.messages.append(Message(event["message"], event["level"]))
        elif "max_steps" in data:
            self.loss.put(data["step"], data["loss"])
            self.step, self._step_told_at = data, time.monotonic()

    def note(self, text: str) -> None:
        """Adds a message that is not an event."""
        self.messages.append(Message(text, "note"))

    @property
    def state(self) -> str:
        """
        >>> WatchedJob("ftjob-a", "flant5-demo", "running", "training").state
        'running: training'
        """
        return f"{self.status}: {self.phase.replace('_', ' ')}" if self.phase else self.status

    @property
    def numbers(self) -> str:
        """Metrics of the last step, with the time left counted down; '' before the first step."""
        if self.step is None:
            return ""
        rest: dict[str, Any] = dict(self.step)
        if rest.get("eta_seconds") is not None:
            rest["eta_seconds"] = max(0.0, rest["eta_seconds"] - self._seconds_since_step())
        if self.status != "running":
            rest["eta_seconds"] = None
        return numbers_of(rest)

    def _seconds_since_step(self) -> float:
        return time.monotonic() - self._step_told_at

    def _take_state(self, data: Json) -> None:
        if "status" in data:
            self.status, self.phase = str(data["status"]), ""
            self.attempt = data.get("attempt", self.attempt)
        elif "phase" in data:
            self.phase = str(data["phase"])


def numbers_of(data: Json) -> str:
    """
    >>> numbers_of({"tokens_per_second": 812.3, "eta_seconds": 65})
    '812 tokens/s, 1m05s left'
    """
    parts = []
    if data.get("tokens_per_second") is not None:
        parts.append(f"{data['tokens_per_second']:,.0f} tokens/s")
    if data.get("mfu") is not None:
        parts.append(f"{data['mfu']:.0%} MFU")
    if data.get("eta_seconds") is not None:
        parts.append(f"{duration(data['eta_seconds'])} left")
    return ", ".join(parts)
