"""The fields of a job by which the store's state is compared with the job's run directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from worker.jobs.life import Status
from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable

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
    with unavailable(), redis.pipeline(transaction=False) as pipeline:
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
