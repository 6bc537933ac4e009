"""The job records back from the run directories, after the store was lost."""

from fastapi import APIRouter

from api.schemas.recovery import RecoveryObject
from api.services import Wired
from worker.jobs.errors import NotFoundError

router = APIRouter(prefix="/recover", tags=["recovery"])


@router.post("", status_code=202)
def start_recovery(services: Wired) -> RecoveryObject:
    """Bring back all jobs that are on disk and not in the store; the keeper does it.

    While one is under way, that one is answered.
    """
    return RecoveryObject.of(services.recovery.request())


@router.get("")
def retrieve_recovery(services: Wired) -> RecoveryObject:
    """How far the last recovery is."""
    recovery = services.recovery.state()
    if recovery is None:
        raise NotFoundError("no recovery was asked for; POST /v1/recover starts one")
    return RecoveryObject.of(recovery)
