"""Recovery of job records from the run directories after the store lost them."""

from fastapi import APIRouter

from api.dependencies import Wired
from api.schemas.recovery import RecoveryObject
from worker.jobs.errors import NotFoundError

router = APIRouter(prefix="/recover", tags=["recovery"])


@router.post("", status_code=202)
def start_recovery(services: Wired) -> RecoveryObject:
    """Restore all jobs that are on disk but not in the store. The keeper does the work.

    If a recovery is in progress, returns that one.
    """
    return RecoveryObject.of(services.recovery.request())


@router.get("")
def retrieve_recovery(services: Wired) -> RecoveryObject:
    """Get the state of the last recovery."""
    recovery = services.recovery.state()
    if recovery is None:
        raise NotFoundError("no recovery was requested; start one with POST /v1/recover")
    return RecoveryObject.of(recovery)
