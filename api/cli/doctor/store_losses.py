"""Checks for recent losses of Redis data, as detected by a keeper."""

import time

from pydantic import SecretStr
from redis import exceptions

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.services.store_loss import StoreLoss
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.rules import Rules
from worker.jobs.scripts import Scripts
from worker.jobs.storage.paths import Home
from worker.jobs.storage.store_losses import LossLog
from worker.jobs.store.recovery import RecoveryDesk
from worker.jobs.store.redis import open_redis

RECENT_SECONDS = 7 * 24 * 3600.0

_EXPECTED = "a server that keeps all acknowledged writes"
_REMEDY = (
    "check it for restarts, failovers and evictions (appendonly yes, maxmemory-policy noeviction)"
)


def check_losses(url: SecretStr, home: Home) -> Finding:
    """Checks that no data was lost in the last week, and that all lost jobs are restored."""
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
        return fine("no data loss was detected")
    if notice is not None and "all are back" not in notice and last.num_jobs:
        remedy = "flant5 recover; GET /v1/recover shows the problems"
        return failed(notice, expected=_EXPECTED, remedy=remedy)
    if time.time() - last.noticed_at < RECENT_SECONDS:
        return warning(last.account, expected=_EXPECTED, remedy=_REMEDY)
    return fine(f"the last data loss was more than a week ago; {losses.num_losses} in total")
