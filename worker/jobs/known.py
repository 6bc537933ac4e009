"""The state of a job as restored from its run directory, for a store that has lost it or has an
older state."""

import json
import time
from dataclasses import dataclass

from worker.jobs.job import model_id
from worker.jobs.rules import SUBMISSION_SECONDS
from worker.jobs.standing import Standing
from worker.jobs.storage.job_record import JobRecord, Wish


@dataclass(frozen=True, slots=True)
class Known:
    """The data from which a job's record in the store is rebuilt."""

    record: JobRecord
    epoch: int
    """Higher than any epoch that a worker may hold, see `next_epoch`."""
    has_begun: bool
    attempt: int = 0
    started_at: float | None = None
    run_seconds: float = 0.0
    highest_number: int = 0
    """The highest number of all jobs on disk."""
    seen: Standing | None = None
    """The state in the store that this replaces; None for a job missing in the store."""


def next_epoch(*epochs: int) -> int:
    """Returns an epoch above all of `epochs` and all epochs ever given out.

    The highest epoch on disk is not enough: a worker may hold a claim of the lost store that left
    no trace there. Claims raise an epoch by one and take longer than a millisecond. Milliseconds
    since 1970 are therefore ahead of them, also after an earlier recovery.
    """
    return max(time.time_ns() // 1_000_000, *(epoch + 1 for epoch in epochs))


def encode_known(known: Known) -> str:
    """Encodes a job for `restore.lua`; nested documents stay text."""
    record = known.record
    fields: dict[str, str | int | None] = {
        "spec": record.spec.model_dump_json(),
        "metadata": json.dumps(record.spec.metadata),
        "owner": record.owner,
        "num_slots": record.spec.hyperparameters.num_gpus,
        "num_nodes": record.spec.hyperparameters.num_nodes,
        "priority": record.spec.priority,
        "created_at": round(record.created_at * 1000),
        "epoch": str(known.epoch),
        "attempt": known.attempt,
        "result_floor": str(record.result_floor),
        "started_at": None if known.started_at is None else round(known.started_at * 1000),
        "run_ms": round(known.run_seconds * 1000),
        "is_accepted": 1 if known.has_begun else None,
        "cancel_requested": "force" if record.wish is Wish.CANCEL else None,
        "pause_requested": 1 if record.wish is Wish.PAUSE else None,
        "is_model_deleted": 1 if record.is_model_deleted else None,
        "wished_at": str(record.wished_at),
        "submission_key": record.submission_key or None,
    }
    return json.dumps(
        {
            "number": record.number,
            "highest_number": known.highest_number,
            "epoch": str(known.epoch),
            "model": model_id(record.id, record.spec),
            "submission_seconds": round(SUBMISSION_SECONDS - (time.time() - record.created_at)),
            **_encode_seen(known.seen),
            "fields": {name: value for name, value in fields.items() if value is not None},
        }
    )


def _encode_seen(seen: Standing | None) -> dict[str, object]:
    if seen is None:
        return {}
    state = {"status": seen.status, "epoch": str(seen.epoch), "wished_at": str(seen.wished_at)}
    return {"seen": state, "is_replayed": not seen.has_history}
