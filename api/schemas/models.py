"""Schema of models."""

from typing import Literal, Self

from api.schemas.pages import Identified
from worker.jobs.store.models import Model


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
