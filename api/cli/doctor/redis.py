"""Checks that Redis or Valkey is reachable, writable and durable."""

from pydantic import SecretStr
from redis import exceptions

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.cli.views.format import size
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.redis_address import RedisAddress
from worker.jobs.startup.server_check import ServerFacts, check_server, evicts_expiring, losses_of
from worker.jobs.startup.service_identity import ServiceIdentity
from worker.jobs.storage.paths import Home
from worker.jobs.store.redis import open_redis, unavailable

NEARLY_FULL = 0.9

_SAFE = "appendonly yes and maxmemory-policy noeviction: nothing acknowledged may get lost"
_PROBE = "#!lua\nreturn 1"
"""A script flagged as writing. Full servers, replicas, and servers with a bad disk reject it."""


def check_redis(url: SecretStr, *, is_chosen: bool, may_lose_data: bool = False) -> Finding:
    """Checks the server's availability, writes and durability.

    `is_chosen` is True if FLANT5_REDIS_URL is set: a missing server at the default address is no
    error. `may_lose_data` is FLANT5_ALLOW_LOSSY_REDIS.
    """
    address = RedisAddress.parse(url.get_secret_value())
    try:
        facts = check_server(url, may_lose_data=may_lose_data)
    except StartRefusedError as error:
        return failed(error.found, expected=error.expected, remedy=error.remedy)
    except StoreUnavailableError as error:
        return _not_answering(error, address, is_chosen=is_chosen)
    try:
        with open_redis(url) as redis, unavailable():
            redis.eval(_PROBE, 0)
    except (StoreUnavailableError, exceptions.ResponseError) as error:
        return failed(
            f"{address.place} rejects writes: {error}",
            expected="a primary with free memory and disk space",
            remedy="redis-cli INFO memory, INFO persistence",
        )
    return _judged(facts, address)


def check_service(url: SecretStr, home: Home) -> Finding:
    """Checks that HOME and Redis belong to the same service. Writes nothing."""
    address = RedisAddress.parse(url.get_secret_value())
    try:
        with open_redis(url) as redis:
            own, known = ServiceIdentity(redis, home, address).ids()
    except (StoreUnavailableError, exceptions.RedisError) as error:
        return not_applicable(f"cannot query Redis: {error}")
    except OSError as error:
        return not_applicable(f"{home.service} can't be read: {error.strerror}")
    if own == known or known is None:
        place = f"{address.place}, database {address.db}"
        return fine(f"{own or 'no service id yet'} (HOME {home.root}, Redis at {place})")
    return failed(
        f"HOME {home.root} belongs to {own or 'no service'}, but Redis at {address.place}, "
        f"database {address.db}, to {known}",
        expected="a HOME and a Redis database of one service",
        remedy="set FLANT5_HOME or FLANT5_REDIS_URL; if they belong together, run `flant5 adopt`",
    )


def _judged(facts: ServerFacts, address: RedisAddress) -> Finding:
    found, info = facts.name, facts.info
    if wrong := losses_of(info):
        commands = ", ".join(f"redis-cli CONFIG SET {setting}" for setting in wrong.values())
        return warning(
            f"{found}: {', '.join(wrong)}",
            expected=_SAFE,
            remedy=f"{commands}; and the same in its configuration file",
        )
    if evicts_expiring(info):
        return warning(
            f"{found}: when memory is full, it evicts idempotency keys, worker entries and chats "
            f"({info['maxmemory_policy']}); a retried create may then create a second job",
            expected="maxmemory-policy noeviction",
            remedy="redis-cli CONFIG SET maxmemory-policy noeviction; and the same in its "
            "configuration file",
        )
    if not address.password and not address.is_local:
        return warning(
            f"{found}: no password is required",
            expected="requirepass, on a network",
            remedy="set requirepass on the server and FLANT5_REDIS_PASSWORD_FILE on this host",
        )
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if most and used > NEARLY_FULL * most:
        return warning(
            f"{found}: {size(used)} of {size(most)} used",
            expected="free memory; a full server rejects new jobs",
            remedy="raise maxmemory, or set FLANT5_KEEP_JOBS_DAYS to delete old jobs",
        )
    return fine(f"{found}: append-only file on, no eviction")


def _not_answering(
    error: StoreUnavailableError, address: RedisAddress, *, is_chosen: bool
) -> Finding:
    place, message = address.place, str(error).removeprefix("Redis is not available: ")
    if "loading" in message:
        return warning(
            f"{place} is still loading its data",
            expected="a server that has loaded its data",
            remedy="wait; `redis-cli INFO persistence` shows the progress",
        )
    if not is_chosen:
        return _nobody(place)
    return failed(
        f"{place} does not respond: {message}",
        expected="a Redis or Valkey server at FLANT5_REDIS_URL",
        remedy="docker compose up -d redis (or start your server), and check FLANT5_REDIS_URL",
    )


def _nobody(address: str) -> Finding:
    return not_applicable(
        f"FLANT5_REDIS_URL is not set and no server responds at {address}; "
        "`docker compose exec api flant5 doctor` checks the server of compose"
    )
