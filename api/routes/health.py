"""For whoever watches the process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from api.errors import StorageFailedError
from api.services import Wired
from worker.jobs.connection import unavailable
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.home_check import HomeFullError, check_home

_PROBE = "#!lua\nreturn 1"
"""A script that writes nothing and might: refused where a create would be, also by a server that
is full, reads from its disk, or can't write to it."""

_log = logging.getLogger(__name__)

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process works; anything else is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Jobs can be submitted; anything else is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    status: Literal["ok", "degraded"] = "ok"
    """`degraded`: jobs can be submitted, and Redis has lost data in the last ten minutes, or lost
    jobs that are not back."""
    reason: str | None = None
    """Why it is degraded; null when it is not."""


@router.get("/healthz")
async def is_alive() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz")
def is_ready(services: Wired) -> Readiness:
    """Redis answers too, takes writes and is of this service, and files can be written to HOME, so
    that jobs can be submitted; 503 when not."""
    with _in_general_words("Redis is not available, or takes no writes"), unavailable():
        services.redis.eval(_PROBE, 0)
    with _in_general_words("HOME can't be written"):
        check_home(services.home, writer="api")
    with _in_general_words("HOME and Redis belong to two services"):
        services.identity.refuse_another()
    reason = services.store_loss.notice()
    return Readiness() if reason is None else Readiness(status="degraded", reason=reason)


@contextmanager
def _in_general_words(found: str) -> Iterator[None]:
    """Logs the error in full and raises one of the same kind without addresses, paths and ids:
    anybody may read /readyz."""
    try:
        yield
    except (StoreUnavailableError, StartRefusedError) as error:
        _log.error("readyz: %s", error)
        message = f"{found}; the log of the API has the details"
        if isinstance(error, StoreUnavailableError):
            raise StoreUnavailableError(message) from error
        if isinstance(error, HomeFullError):
            message = message.replace(found, "HOME has no room")
        raise StorageFailedError(message) from error
