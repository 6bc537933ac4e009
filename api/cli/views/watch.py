"""Full-screen terminal view of a running job, refreshed live.

`WatchedJob` accumulates the job's state from its events, and `WatchView` draws it.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from api.cli.client import Json
from api.cli.views.charts import TRAINING, VALIDATION, Canvas, LossCurve, loss_plot
from api.cli.views.format import duration, plain
from api.cli.views.log import LogFollower

_MAX_KEPT_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class JobMessage:
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
    messages: deque[JobMessage] = field(default_factory=lambda: deque(maxlen=_MAX_KEPT_MESSAGES))
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
            self.messages.append(JobMessage(event["message"], event["level"]))
        elif "eval_loss" in data:
            self.eval_loss.put(data["step"], data["eval_loss"])
            self.messages.append(JobMessage(event["message"], event["level"]))
        elif "max_steps" in data:
            self.loss.put(data["step"], data["loss"])
            self.step, self._step_told_at = data, time.monotonic()

    def note(self, text: str) -> None:
        """Adds a message that is not an event."""
        self.messages.append(JobMessage(text, "note"))

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


_FRAMES_PER_SECOND = 4
_MAX_BAR_WIDTH = 60
_MAX_PLOT_HEIGHT = 20
_MAX_MESSAGES = 8
_FOOTER = "Ctrl-C closes this view; the job continues"
_AWAY = "server unreachable; retrying"
_LAST_LOG_SECONDS = 3.0
_FINAL_LOG_LINES = 8
_STATUS_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "paused": "yellow"}
_LEVEL_STYLES = {"info": "", "warn": "yellow", "error": "red", "note": "dim"}


class WatchView:
    """Full-screen view; a context manager.

    It uses the alternate screen, where resizing leaves no artifacts. At the end, it prints the
    final state to the main screen.
    """

    def __init__(self, job: Json) -> None:
        self._job = WatchedJob.of(job)
        self._log = LogFollower(job["id"])
        self._console = Console()
        self._live = Live(
            console=self._console,
            screen=True,
            refresh_per_second=_FRAMES_PER_SECOND,
            get_renderable=lambda: _Sized(self._screen),
        )

    def __enter__(self) -> Self:
        self._log.start()
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._log.join(timeout_seconds=_LAST_LOG_SECONDS)
        self._live.stop()
        self._console.print(_Sized(self._summary))

    def event(self, event: Json) -> None:
        self._job.is_server_away = False
        self._job.take(event)

    def note(self, text: str) -> None:
        """Shows a message that is not an event."""
        self._job.note(text)

    def away(self) -> None:
        """Shows that the server is unreachable."""
        self._job.is_server_away = True

    def back(self) -> None:
        """Shows that the server is reachable again."""
        self._job.is_server_away = False

    # The methods below run in the thread of `Live` while the main thread adds events. They copy
    # collections before iterating over them.

    def _screen(self, options: ConsoleOptions) -> RenderableType:
        width, height = options.max_width, options.size.height
        head = [self._title(), self._bar(width), self._numbers()]
        room = height - len(head) - 3  # less the footer and the lines between the parts
        plot = self._plot(options, height=min(_MAX_PLOT_HEIGHT, room // 2))
        messages = self._messages(min(_MAX_MESSAGES, max(1, (room - len(plot)) // 3)))
        log = self._log_lines(room - len(plot) - len(messages))
        gap = [Text()] * max(0, room - len(plot) - len(messages) - len(log))
        parts = (*head, *plot, Text(), *messages, Text(), *log, *gap)
        return Group(*parts[: height - 1], self._footer())

    def _summary(self, options: ConsoleOptions) -> RenderableType:
        plot = self._plot(options, height=min(12, options.size.height // 2))
        has_failed = self._job.status == "failed"
        log = self._log_lines(_FINAL_LOG_LINES if has_failed else 0)
        messages = self._messages(3)
        return Group(self._title(), self._bar(options.max_width), *plot, *log, *messages)

    def _title(self) -> Text:
        job = self._job
        state = (job.state, _STATUS_STYLES.get(job.status, "bold"))
        parts: list[str | tuple[str, str]] = [(job.id, "bold"), f"  {plain(job.model)}  ", state]
        attempt = f"  attempt {job.attempt}" if job.attempt > 1 else ""
        return _line(*parts, attempt)

    def _footer(self) -> Text:
        if self._job.is_server_away:
            return _line((_AWAY, "yellow"))
        return _line((_FOOTER, "dim"))

    def _bar(self, width: int) -> RenderableType:
        step = self._job.step
        if step is None:
            return Text("no steps yet", style="dim")
        done, total = step["step"], max(1, step["max_steps"])
        table = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=total, completed=done, width=min(_MAX_BAR_WIDTH, width // 2))
        table.add_row(bar, _line(f"{done}/{total}"), _line(f"{100 * done / total:.0f} %"))
        return table

    def _numbers(self) -> Text:
        parts: list[tuple[str, str]] = []
        if (last := self._job.loss.last) is not None:
            parts += [(f"loss {last[1]:.3f}  ", TRAINING)]
        if (last := self._job.eval_loss.last) is not None:
            step, loss = last
            parts += [(f"validation {loss:.3f} (step {step})  ", VALIDATION)]
        return _line(*parts, self._job.numbers)

    def _plot(self, options: ConsoleOptions, *, height: int) -> list[Text]:
        canvas = Canvas(options.max_width, height, is_ascii=options.ascii_only)
        return loss_plot(self._job.loss.points, self._job.eval_loss.points, canvas=canvas)

    def _messages(self, count: int) -> list[Text]:
        return [_said(message) for message in list(self._job.messages)[-count:]]

    def _log_lines(self, count: int) -> list[Text]:
        return [_line((plain(line.expandtabs()), "dim")) for line in self._log.last(count)]


class _Sized:
    """Renderable that is built for the terminal size at draw time."""

    def __init__(self, make: Callable[[ConsoleOptions], RenderableType]) -> None:
        self._make = make

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> list[RenderableType]:
        return [self._make(options)]


def _line(*parts: str | tuple[str, str]) -> Text:
    """Returns a single line, truncated to the terminal's width."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _said(message: JobMessage) -> Text:
    return _line((plain(message.text), _LEVEL_STYLES[message.level]))
