"""Schemas of models and of recoveries."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from api.schemas.common import Identified
from worker.jobs.store.models import Model
from worker.jobs.store.recovery import Problem, Recovery, RestoredJob


class ModelObject(Identified):
    """A model that a job can start from."""

    object: Literal["model"] = "model"
    created: int
    """0 for a model that is part of the service."""
    owned_by: str
    """Owner of the job that made it, or the part of a hub name before the `/`. Otherwise
    `flant5`."""

    @classmethod
    def of(cls, model: Model) -> Self:
        return cls(id=model.id, created=int(model.created_at), owned_by=model.owned_by)


class RecoveryObject(BaseModel):
    """The last recovery of job records from the run directories."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["recovery"] = "recovery"
    status: Literal["requested", "running", "done"]
    """State of the recovery."""
    requested_at: int
    """Unix seconds."""
    cause: str | None
    """Evidence by which the controller detected the data loss in Redis; null if a caller requested
    the recovery."""
    finished_at: int | None
    """Unix seconds; null until it is done."""
    num_found: int
    """Jobs with a record on disk."""
    num_known: int
    """Jobs among them that the store still had."""
    restored: tuple[RestoredJob, ...]
    """Jobs that were restored or updated from disk, with their status right after that."""
    problems: tuple[Problem, ...]
    """Jobs that were not restored, or not with their full history, and the reasons."""

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
