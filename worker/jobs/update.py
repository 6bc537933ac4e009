"""What a worker writes about its attempt: claims, updates and outcomes."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from pydantic import JsonValue

from worker.jobs.errors import JobsError
from worker.jobs.job import Chosen, Job, JobError, Phase, Progress


class Beat(Enum):
    """What the holder of a lease is told when it extends it."""

    GO_ON = auto()
    PAUSE = auto()
    """Save, then give the job back: it will be paused."""
    CANCEL = auto()
    CANCEL_SAVE = auto()
    """Cancel after a checkpoint."""
    MEMBER_OVER = auto()
    """A node of the attempt is lost or has failed, so that the others can't go on."""
    MEMBER_STOPS = auto()
    """The worker of one of its nodes stops: save, then give the job back."""
    LOST = auto()
    """The job is no longer this worker's: stop at once, write nothing."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """Bytes of `progress.jsonl` and `train.log` that are in the store already."""

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
    """An attempt that ended without an outcome, through no decision of ours."""

    code: str
    """The job's failure class, should this have been one loss too many."""
    counts_as: Literal["losses", "failures"] = "losses"
    """`failures`: one more try; `losses`: `Rules.max_losses` tries without a new checkpoint."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append; `at` is Unix seconds, None means the server's now."""

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
    """Where it ends in `train.log`, in bytes; the place becomes a part of its id."""


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    step: int
    path: str
    """Directory, relative to the run directory."""
    metrics: dict[str, float]
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The part of the run directory's files that an update was read from."""

    start: Offsets
    end: Offsets


@dataclass(frozen=True, slots=True)
class Update:
    """News of a running attempt, recorded as a whole or not at all. None leaves a field as it
    is."""

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
    """The store is elsewhere in the files than the update assumed: Redis was restored from an
    older state. Go on reading at `stored`."""

    def __init__(self, stored: Offsets) -> None:
        super().__init__(f"the store has the files up to {stored}")
        self.stored = stored
