"""The checks that a process of the service makes before its first step: directories that can be
used, a server that works, and a store that belongs to its HOME."""

import logging
import time
from typing import Literal

from pydantic import SecretStr

from worker.jobs.connection import open_redis
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.home import Home
from worker.jobs.home_check import (
    HomeWriter,
    check_readable_home,
    check_temporary_directory,
    home_refused,
    prepare_home,
)
from worker.jobs.redis_address import RedisAddress
from worker.jobs.server_check import check_server
from worker.jobs.service_identity import ServiceIdentity
from worker.jobs.settings import temporary_directory

HomeUse = HomeWriter | Literal["reads", "may lack"]
"""What a process does with HOME: those that write are named; one that only reads it may leave it to
others to give it an id; one that may lack it
(a container without it) has nothing to compare."""

_LOOK_SECONDS = 0.5
_SAY_SECONDS = 30.0

logger = logging.getLogger(__name__)


def check_directories(home: Home, *, use: HomeUse) -> None:
    """Raises StartRefusedError for a HOME or a TMPDIR that can't be used. A full disk is logged:
    whoever deletes files by the API or by the keeper frees it."""
    if use == "reads":
        check_readable_home(home)
    elif use != "may lack":
        prepare_home(home, writer=use, may_be_full=True)
    if use != "may lack":
        check_temporary_directory(temporary_directory())


def check_start(
    redis_url: SecretStr, home: Home, *, use: HomeUse, may_lose_data: bool = False
) -> None:
    """Raises StartRefusedError for what no waiting mends, else StoreUnavailableError.
    `may_lose_data` is FLANT5_ALLOW_LOSSY_REDIS."""
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
    """Returns when all is well; waits for a server that does not answer yet, as long as that takes.
    Raises StartRefusedError."""
    check_directories(home, use=use)
    said_at = -_SAY_SECONDS
    while True:
        try:
            check_start(redis_url, home, use=use, may_lose_data=may_lose_data)
        except StoreUnavailableError as error:
            if time.monotonic() - said_at >= _SAY_SECONDS:
                said_at = time.monotonic()
                logger.warning("start: waits for the store: %s", error)
            time.sleep(_LOOK_SECONDS)
        else:
            return
