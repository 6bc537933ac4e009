"""The losses of data in Redis that a keeper noticed."""

import time

from pydantic import SecretStr
from redis import exceptions

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.store_loss import StoreLoss
from worker.jobs.connection import open_redis
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.home import Home
from worker.jobs.losses import LossLog
from worker.jobs.recovery import RecoveryDesk
from worker.jobs.rules import Rules
from worker.jobs.scripts import Scripts

RECENT_SECONDS = 7 * 24 * 3600.0

_EXPECTED = "a server that keeps what it has acknowledged"
_REMEDY = (
    "look for its restarts, failovers and evictions (appendonly yes, maxmemory-policy noeviction)"
)


def check_losses(url: SecretStr, home: Home) -> Finding:
    """No loss in the last week, and every job that was lost is back."""
    log = LossLog(home.losses)
    try:
        losses = log.read()
        with open_redis(url) as redis:
            notice = StoreLoss(log, RecoveryDesk(Scripts(redis, Rules()))).notice()
    except OSError as error:
        return not_applicable(f"{home.losses} can't be read: {error.strerror}")
    except (StoreUnavailableError, exceptions.ResponseError) as error:
        return not_applicable(str(error))
    last = losses.last
    if last is None:
        return fine("no keeper has noticed a loss")
    if notice is not None and "all are back" not in notice and last.num_jobs:
        return failed(notice, expected=_EXPECTED, remedy="flant5 recover; GET /v1/recover says why")
    if time.time() - last.noticed_at < RECENT_SECONDS:
        return warning(last.account, expected=_EXPECTED, remedy=_REMEDY)
    return fine(f"the last loss was noticed more than a week ago; {losses.num_losses} in all")
