"""Serialization of job hashes, stream entries and updates in Redis."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.jobs.events import Checkpoint, Event, LogLine
from worker.jobs.job import Job
from worker.jobs.redaction import redacted, redacted_values
from worker.jobs.update import NewEvent, Offsets, Update

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
    if update.move is not None:
        document["move"] = {
            "start": _offsets(update.move.start),
            "end": _offsets(update.move.end),
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
