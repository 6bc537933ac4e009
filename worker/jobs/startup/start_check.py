"""Startup checks of a process of the service: its directories, the Redis server, and that store and
HOME belong together."""

import logging
import time
from typing import Literal

from pydantic import SecretStr

from worker.jobs.errors import StoreUnavailableError
from worker.jobs.redis_address import RedisAddress
from worker.jobs.settings import temporary_directory
from worker.jobs.startup.home_check import (
    HomeWriter,
    check_readable_home,
    check_temporary_directory,
    home_refused,
    prepare_home,
)
from worker.jobs.startup.server_check import check_server
from worker.jobs.startup.service_identity import ServiceIdentity
from worker.jobs.storage.paths import Home
from worker.jobs.store.redis import open_redis

HomeUse = HomeWriter | Literal["reads", "may lack"]
"""The way in which a process uses HOME. Writers are named. A process that only reads HOME need not
create its id. A process that may lack it (a container without HOME) has no id to compare."""

_LOOK_SECONDS = 0.5
_SAY_SECONDS = 30.0

logger = logging.getLogger(__name__)


def check_directories(home: Home, *, use: HomeUse) -> None:
    """Raises StartRefusedError for an unusable HOME or TMPDIR. A full disk is only logged, because
    deletions by the API or the controller free it."""
    if use == "reads":
        check_readable_home(home)
    elif use != "may lack":
        prepare_home(home, writer=use, may_be_full=True)
    if use != "may lack":
        check_temporary_directory(temporary_directory())


def check_start(
    redis_url: SecretStr, home: Home, *, use: HomeUse, may_lose_data: bool = False
) -> None:
    """Checks server and identity. Raises StoreUnavailableError, or StartRefusedError if waiting
    can't help. `may_lose_data` is FLANT5_ALLOW_LOSSY_REDIS."""
    check_server(redis_url, may_lose_data=may_lose_data)
    with open_redis(redis_url) as redis:
        address = RedisAddress.parse(redis_url.get_secret_value())
        identity = ServiceIdentity(redis, home, address)
        try:
            if use != "may lack" or identity.own_id() is not None:
                identity.confirm(may_write_home=use not in ("reads", "may lack"))
        except OSError as error:
            raise home_refused(home.root, error) from error


def wait_for_start(
    redis_url: SecretStr, home: Home, *, use: HomeUse, may_lose_data: bool = False
) -> None:
    """Returns once all checks pass; waits indefinitely for a server that does not answer. Raises
    StartRefusedError."""
    check_directories(home, use=use)
    said_at = -_SAY_SECONDS
    while True:
        try:
            check_start(redis_url, home, use=use, may_lose_data=may_lose_data)
        except StoreUnavailableError as error:
            if time.monotonic() - said_at >= _SAY_SECONDS:
                said_at = time.monotonic()
                logger.warning("start: waiting for the store: %s", error)
            time.sleep(_LOOK_SECONDS)
        else:
            return
