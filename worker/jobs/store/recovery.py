"""Recovery of jobs after the store lost data: requests, status, and the state to restore.

A caller requests it, or the controller that noticed a loss. The controller rebuilds the records of
the jobs from their run directories (`worker.controller.recovery`). Its status and findings are JSON
in one key of the store, `flant5:recovery`.

`Standing` has the fields by which the store's state of a job is compared with its run directory.
`RestorableJob` is the state as restored from there, for a store that lost the job or has an older
state.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict
from redis import Redis

from worker.jobs.job import Status, model_id
from worker.jobs.rules import SUBMISSION_SECONDS
from worker.jobs.storage.job_record import DesiredState, JobRecord
from worker.jobs.store import keys
from worker.jobs.store.redis import Scripts, translate_redis_errors


class RestoredJob(BaseModel):
    """A job that was restored or brought up to date."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The job's id."""
    status: Status
    """The status right after the recovery."""


class Problem(BaseModel):
    """The reason why a job was not restored, or not with all of its history."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The job's id."""
    message: str
    """The found value, its file and the expected value."""


class Recovery(BaseModel):
    """The last recovery; instants are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    status: Literal["requested", "running", "done"]
    requested_at: float
    cause: str | None = None
    """The evidence by which a controller noticed a loss; None for a caller's request."""
    finished_at: float | None = None
    num_found: int = 0
    """Jobs with a record on disk."""
    num_known: int = 0
    """Jobs with a record that the store still had."""
    restored: tuple[RestoredJob, ...] = ()
    problems: tuple[Problem, ...] = ()


class RecoveryRequests:
    """Requests a recovery, and reads and updates its state. Every method raises
    StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._scripts = scripts

    def request(self, *, cause: str | None = None) -> Recovery:
        """Requests a recovery. Returns it, or the one that is in progress."""
        while True:
            known = self.state()
            if known is not None and known.status != "done":
                return known
            wanted = Recovery(status="requested", requested_at=time.time(), cause=cause)
            if self.replace(known, wanted):
                return wanted

    def state(self) -> Recovery | None:
        """Returns the last recovery; None if this store has had none."""
        with translate_redis_errors():
            text = cast(str | None, self._redis.get(keys.RECOVERY))
        return None if text is None else Recovery.model_validate_json(text)

    def replace(self, known: Recovery | None, new: Recovery) -> bool:
        """Replaces the state if it is still `known`. Otherwise changes nothing and returns False:
        another process has changed it, or the store was lost again. A repeated call returns True
        too."""
        texts = ("" if known is None else _text(known), _text(new))
        return bool(self._scripts.run("recovery", *texts)) or self.state() == new


def _text(recovery: Recovery) -> str:
    """Encodes a recovery. A missing cause is left out as in older texts, because texts are
    compared."""
    return recovery.model_dump_json(exclude={"cause"} if recovery.cause is None else None)


_FIELDS = ("status", "epoch", "wished_at", "result_floor")


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a job in the store."""

    status: Status
    epoch: int
    wished_at: int
    """0 for an older job without this field."""
    result_floor: int
    has_history: bool
    """False if events or log lines were recorded but their stream is gone."""


def read_standings(redis: Redis, job_ids: Sequence[str]) -> tuple[Standing | None, ...]:
    """Returns the states in the order of the ids; None for an unknown job. Raises
    StoreUnavailableError."""
    with translate_redis_errors(), redis.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.hmget(keys.job(job_id), *_FIELDS, "events", "log_lines")
            pipeline.exists(keys.events(job_id))
            pipeline.exists(keys.logs(job_id))
        answers: list[Any] = pipeline.execute()
    return tuple(_standing(*answers[start : start + 3]) for start in range(0, len(answers), 3))


def _standing(fields: list[str | None], num_events: int, num_logs: int) -> Standing | None:
    status, epoch, wished_at, floor, events, lines = fields
    if status is None:
        return None
    return Standing(
        status=Status(status),
        epoch=int(epoch or 0),
        wished_at=int(wished_at or 0),
        result_floor=-1 if floor is None else int(floor),
        has_history=not (events and not num_events) and not (int(lines or 0) and not num_logs),
    )


@dataclass(frozen=True, slots=True)
class RestorableJob:
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


def encode_restorable_job(restorable: RestorableJob) -> str:
    """Encodes a job for `restore.lua`; nested documents stay text."""
    record = restorable.record
    fields: dict[str, str | int | None] = {
        "spec": record.spec.model_dump_json(),
        "metadata": json.dumps(record.spec.metadata),
        "owner": record.owner,
        "num_slots": record.spec.hyperparameters.num_gpus,
        "num_nodes": record.spec.hyperparameters.num_nodes,
        "priority": record.spec.priority,
        "created_at": round(record.created_at * 1000),
        "epoch": str(restorable.epoch),
        "attempt": restorable.attempt,
        "result_floor": str(record.result_floor),
        "started_at": None
        if restorable.started_at is None
        else round(restorable.started_at * 1000),
        "run_ms": round(restorable.run_seconds * 1000),
        "is_accepted": 1 if restorable.has_begun else None,
        "cancel_requested": "force" if record.wish is DesiredState.CANCEL else None,
        "pause_requested": 1 if record.wish is DesiredState.PAUSE else None,
        "is_model_deleted": 1 if record.is_model_deleted else None,
        "wished_at": str(record.wished_at),
        "submission_key": record.submission_key or None,
    }
    return json.dumps(
        {
            "number": record.number,
            "highest_number": restorable.highest_number,
            "epoch": str(restorable.epoch),
            "model": model_id(record.id, record.spec),
            "submission_seconds": round(SUBMISSION_SECONDS - (time.time() - record.created_at)),
            **_encode_seen(restorable.seen),
            "fields": {name: value for name, value in fields.items() if value is not None},
        }
    )


def _encode_seen(seen: Standing | None) -> dict[str, object]:
    if seen is None:
        return {}
    state = {"status": seen.status, "epoch": str(seen.epoch), "wished_at": str(seen.wished_at)}
    return {"seen": state, "is_replayed": not seen.has_history}
