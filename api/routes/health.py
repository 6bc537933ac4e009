"""For whoever watches the process."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from api.services import Wired
from worker.jobs.connection import unavailable

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """All is well; anything else is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["ok"] = "ok"


@router.get("/healthz")
def is_alive() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz")
def is_ready(services: Wired) -> Health:
    """Redis answers too, so that jobs can be submitted; 503 when it does not."""
    with unavailable():
        services.redis.ping()
    return Health()
