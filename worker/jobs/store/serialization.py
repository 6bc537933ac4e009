"""Serialization in Redis: job hashes, stream entries, and the protocol between worker and store.

The protocol of an attempt consists of claims, updates and outcomes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

from pydantic import JsonValue

from worker.jobs.errors import JobsError
from worker.jobs.events import Checkpoint, Event, LogLine
from worker.jobs.job import Chosen, Job, JobError, JobProgressState, Phase
from worker.jobs.logging import redacted, redacted_values


class HeartbeatDirective(Enum):
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
class InfraFailure:
    """An infrastructure failure: the attempt ended involuntarily and without an outcome."""

    code: str
    """The job's failure class if this loss exceeds the limit."""
    counts_as: Literal["losses", "failures"] = "losses"
    """`failures`: one retry; `losses`: `Rules.max_infra_retries` attempts without a new
    checkpoint."""


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
class OffsetRange:
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
    progress: JobProgressState | None = None
    trained_tokens: int | None = None
    chosen: Chosen | None = None
    offset_range: OffsetRange | None = None


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


Fields = Mapping[str, str]

_PLAIN = (
    *("status", "phase", "worker", "owner", "fine_tuned_model"),
    *("number", "epoch", "attempt", "losses", "failures", "result_floor"),
    *("cancel_requested", "pause_requested", "is_given_up", "wished_at", "submission_key"),
)
_INSTANTS = (
    *("created_at", "started_at", "finished_at", "queued_at"),
    *("retry_at", "last_heartbeat_at"),
)
_DOCUMENTS = ("spec", "progress", "error", "trained_tokens", "workers", "chosen")


def read_job(job_id: str, fields: Fields) -> Job:
    """Parses a job's hash."""
    plain = {name: fields[name] for name in _PLAIN if name in fields}
    instants = {name: int(fields[name]) / 1000 for name in _INSTANTS if name in fields}
    documents = {name: json.loads(fields[name]) for name in _DOCUMENTS if name in fields}
    return Job.model_validate(
        {
            "id": job_id,
            "run_seconds": int(fields.get("run_ms", 0)) / 1000,
            **plain,
            **instants,
            **documents,
        }
    )


def read_event(entry_id: str, fields: Fields) -> Event:
    return Event.model_validate(
        {
            "id": entry_id,
            "seq": fields["seq"],
            "created_at": int(fields["at"]) / 1000,
            "level": fields["level"],
            "type": fields["type"],
            "message": fields["message"],
            "data": json.loads(fields["data"]),
        }
    )


def read_log_line(entry_id: str, fields: Fields) -> LogLine:
    return LogLine.model_validate(
        {
            "id": entry_id,
            "seq": fields["seq"],
            "created_at": int(fields["at"]) / 1000,
            "stream": fields["stream"],
            "line": fields["line"],
        }
    )


def read_checkpoint(entry_id: str, fields: Fields) -> Checkpoint:
    return Checkpoint.model_validate(
        {
            "id": entry_id,
            "created_at": int(fields["at"]) / 1000,
            "step": fields["step"],
            "path": fields["path"],
            "metrics": json.loads(fields["metrics"]),
        }
    )


def encode_update(update: Update) -> str:
    """Encodes an update for `record.lua`. Nested documents stay text, because numbers would not
    survive the round trip through Lua."""
    progress, tokens = update.progress, update.trained_tokens
    fields = {
        "phase": update.phase,
        "progress": None if progress is None else progress.model_dump_json(),
        "trained_tokens": None if tokens is None else str(tokens),
        "chosen": None if update.chosen is None else update.chosen.model_dump_json(),
    }
    log_lines = [
        {
            "stream": line.stream,
            "line": line.line,
            **_at(line.at),
            **({} if line.end is None else {"end": line.end}),
        }
        for line in update.log_lines
    ]
    checkpoints = [
        {
            "step": checkpoint.step,
            "path": checkpoint.path,
            "metrics": json.dumps(checkpoint.metrics),
            **_at(checkpoint.at),
        }
        for checkpoint in update.checkpoints
    ]
    document: dict[str, Any] = {
        "fields": {name: value for name, value in fields.items() if value is not None},
        "events": [*map(_event, update.events)],
        "log_lines": log_lines,
        "checkpoints": checkpoints,
    }
    if update.offset_range is not None:
        document["move"] = {
            "start": _offsets(update.offset_range.start),
            "end": _offsets(update.offset_range.end),
        }
    return json.dumps(document)


def encode_events(events: Sequence[NewEvent]) -> str:
    """Encodes events for the scripts that append them."""
    return json.dumps([*map(_event, events)])


def _event(event: NewEvent) -> dict[str, Any]:
    return {
        "level": event.level,
        "type": event.type,
        "message": redacted(event.message),
        "data": json.dumps(redacted_values(event.data or {})),
        **_at(event.at),
    }


def _at(seconds: float | None) -> dict[str, int]:
    return {} if seconds is None else {"at": round(seconds * 1000)}


def _offsets(offsets: Offsets) -> dict[str, int]:
    return {"progress": offsets.progress, "log": offsets.log}
