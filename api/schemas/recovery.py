"""A recovery, as callers see it."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from worker.jobs.recovery import Problem, Recovery, RestoredJob


class RecoveryObject(BaseModel):
    """The last recovery of job records from the run directories."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["recovery"] = "recovery"
    status: Literal["requested", "running", "done"]
    """How far it is."""
    requested_at: int
    """Unix seconds."""
    cause: str | None
    """The sign by which the keeper noticed that Redis lost data; null when a caller asked."""
    finished_at: int | None
    """Unix seconds; null until it is done."""
    num_found: int
    """Jobs with a record on disk."""
    num_known: int
    """Those of them that the store had anyway."""
    restored: tuple[RestoredJob, ...]
    """The jobs that are back or brought up to what the disk says, with the status they had right
    after that."""
    problems: tuple[Problem, ...]
    """Jobs that are not back, or not with all of their history, and why."""

    @classmethod
    def of(cls, recovery: Recovery) -> Self:
        finished_at = recovery.finished_at
        return cls(
            status=recovery.status,
            requested_at=int(recovery.requested_at),
            cause=recovery.cause,
            finished_at=None if finished_at is None else int(finished_at),
            num_found=recovery.num_found,
            num_known=recovery.num_known,
            restored=recovery.restored,
            problems=recovery.problems,
        )
