"""Routes for operators: liveness and readiness probes, Prometheus metrics, and recovery.

A recovery restores job records from the run directories after the store lost them.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict

from api.dependencies import ServicesDep
from api.http.errors import StorageFailedError
from api.schemas.models import RecoveryObject
from worker.jobs.errors import NotFoundError, StartRefusedError, StoreUnavailableError
from worker.jobs.startup.home_check import HomeFullError, check_home
from worker.jobs.store.redis import translate_redis_errors

_PROBE = "#!lua\nreturn 1"
"""A script that could write but does not. Redis rejects it whenever a create would fail: also when
it is full, loads its data, or can't write to disk."""

_log = logging.getLogger(__name__)

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process is alive. Any other response is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Jobs can be submitted. Any other response is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    status: Literal["ok", "degraded"] = "ok"
    """`degraded`: jobs can be submitted, but Redis lost data in the last ten minutes, or lost jobs
    are not restored yet."""
    reason: str | None = None
    """Reason for `degraded`, else null."""


@router.get("/healthz")
async def is_alive() -> Health:
    """Check that the process responds."""
    return Health()


@router.get("/readyz")
def is_ready(services: ServicesDep) -> Readiness:
    """Check that jobs can be submitted. Redis must respond, accept writes and belong to this
    service, and HOME must be writable. Returns 503 otherwise."""
    with _in_general_words("Redis is not available or rejects writes"), translate_redis_errors():
        services.redis.eval(_PROBE, 0)
    with _in_general_words("HOME is not writable"):
        check_home(services.home, writer="api")
    with _in_general_words("HOME and Redis belong to different services"):
        services.identity.refuse_another()
    reason = services.store_loss.notice()
    return Readiness() if reason is None else Readiness(status="degraded", reason=reason)


@contextmanager
def _in_general_words(found: str) -> Iterator[None]:
    """Logs the full error and raises one of the same kind without addresses, paths and ids, because
    /readyz is public."""
    try:
        yield
    except (StoreUnavailableError, StartRefusedError) as error:
        _log.error("readyz: %s", error)
        message = f"{found}; see the API log for details"
        if isinstance(error, StoreUnavailableError):
            raise StoreUnavailableError(message) from error
        if isinstance(error, HomeFullError):
            message = message.replace(found, "HOME has no free space")
        raise StorageFailedError(message) from error


metrics_router = APIRouter()


@metrics_router.get("/metrics", include_in_schema=False)
def scrape(services: ServicesDep) -> Response:
    """Returns the current metrics. Returns 200 even if Redis is unavailable."""
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


recovery_router = APIRouter(prefix="/recover", tags=["recovery"])


@recovery_router.post("", status_code=202)
def start_recovery(services: ServicesDep) -> RecoveryObject:
    """Restore all jobs that are on disk but not in the store. The controller does the work.

    If a recovery is in progress, returns that one.
    """
    return RecoveryObject.of(services.recovery.request())


@recovery_router.get("")
def retrieve_recovery(services: ServicesDep) -> RecoveryObject:
    """Get the state of the last recovery."""
    recovery = services.recovery.state()
    if recovery is None:
        raise NotFoundError("no recovery was requested; start one with POST /v1/recover")
    return RecoveryObject.of(recovery)
