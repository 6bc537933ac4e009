"""The protocol of an attempt between worker and store: claims, updates and outcomes."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from pydantic import JsonValue

from worker.jobs.errors import JobsError
from worker.jobs.job import Chosen, Job, JobError, Phase, Progress


class Beat(Enum):
    """The response to a heartbeat: the instruction for the lease holder."""

    GO_ON = auto()
    PAUSE = auto()
    """Save a checkpoint, then release the job, which is then paused."""
    CANCEL = auto()
    CANCEL_SAVE = auto()
    """Cancel after a checkpoint."""
    MEMBER_OVER = auto()
    """A node of the attempt was lost or has failed, so the others can't continue."""
    MEMBER_STOPS = auto()
    """The worker of one node is shutting down: save a checkpoint, then release the job."""
    LOST = auto()
    """The worker has lost the job: stop at once and write nothing."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """Numbers of bytes of `progress.jsonl` and `train.log` that are in the store."""

    progress: int = 0
    log: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job's next attempt; every write carries its epoch."""

    job: Job
    epoch: int
    attempt: int
    offsets: Offsets


@dataclass(frozen=True, slots=True)
class Loss:
    """An infrastructure failure: the attempt ended involuntarily and without an outcome."""

    code: str
    """The job's failure class if this loss exceeds the limit."""
    counts_as: Literal["losses", "failures"] = "losses"
    """`failures`: one retry; `losses`: `Rules.max_losses` attempts without a new checkpoint."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append; `at` is in Unix seconds, None means the server's current time."""

    message: str
    level: Literal["info", "warn", "error"] = "info"
    type: Literal["message", "metrics"] = "message"
    data: dict[str, JsonValue] | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class NewLogLine:
    line: str
    stream: Literal["stdout", "stderr"] = "stdout"
    at: float | None = None
    end: int | None = None
    """Offset of its end in `train.log`, in bytes; becomes part of its id."""


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    step: int
    path: str
    """Directory, relative to the run directory."""
    metrics: dict[str, float]
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The range of the run directory's files that an update was read from."""

    start: Offsets
    end: Offsets


@dataclass(frozen=True, slots=True)
class Update:
    """Progress of a running attempt, recorded atomically. None leaves a field unchanged."""

    events: tuple[NewEvent, ...] = ()
    log_lines: tuple[NewLogLine, ...] = ()
    checkpoints: tuple[NewCheckpoint, ...] = ()
    phase: Phase = None
    progress: Progress | None = None
    trained_tokens: int | None = None
    chosen: Chosen | None = None
    move: Move | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    fine_tuned_model: str


@dataclass(frozen=True, slots=True)
class Failed:
    error: JobError


@dataclass(frozen=True, slots=True)
class Cancelled:
    pass


Outcome = Succeeded | Failed | Cancelled


class OffsetsMovedError(JobsError):
    """The update does not begin at the store's offsets, because Redis was restored from an older
    state. Continue reading at `stored`."""

    def __init__(self, stored: Offsets) -> None:
        super().__init__(f"the store has the files up to {stored}")
        self.stored = stored
