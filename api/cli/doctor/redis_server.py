"""The Redis or Valkey server: it answers, takes writes, and loses nothing."""

from pydantic import SecretStr
from redis import exceptions

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.cli.printing import size
from worker.jobs.connection import open_redis, unavailable
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.home import Home
from worker.jobs.redis_address import RedisAddress
from worker.jobs.server_check import ServerFacts, check_server, evicts_expiring, losses_of
from worker.jobs.service_identity import ServiceIdentity

NEARLY_FULL = 0.9

_SAFE = "appendonly yes and maxmemory-policy noeviction: nothing acknowledged may get lost"
_PROBE = "#!lua\nreturn 1"
"""A script that might write: refused by a server that is full, a copy, or can't write its disk."""


def check_redis(url: SecretStr, *, is_chosen: bool, may_lose_data: bool = False) -> Finding:
    """`is_chosen` says whether somebody set the address: nobody need run a server at the default
    one. `may_lose_data` is FLANT5_ALLOW_LOSSY_REDIS."""
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
            f"{address.place} answers, and takes no writes of ours: {error}",
            expected="a primary with room in memory and on its disk",
            remedy="redis-cli INFO memory, INFO persistence",
        )
    return _judged(facts, address)


def check_service(url: SecretStr, home: Home) -> Finding:
    """HOME and Redis belong to the same service. Writes nothing."""
    address = RedisAddress.parse(url.get_secret_value())
    try:
        with open_redis(url) as redis:
            own, known = ServiceIdentity(redis, home, address).ids()
    except (StoreUnavailableError, exceptions.RedisError) as error:
        return not_applicable(f"Redis does not let us look: {error}")
    except OSError as error:
        return not_applicable(f"{home.service} can't be read: {error.strerror}")
    if own == known or known is None:
        place = f"{address.place}, database {address.db}"
        return fine(f"{own or 'not yet named'} (HOME {home.root}, Redis at {place})")
    return failed(
        f"HOME {home.root} is of {own or 'no service'}, Redis at {address.place}, database "
        f"{address.db}, of {known}",
        expected="a HOME and a Redis database of one service",
        remedy="set FLANT5_HOME or FLANT5_REDIS_URL; `flant5 adopt` where they do belong together",
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
            f"{found}: with its memory full it evicts idempotency keys, workers' entries and chats "
            f"({info['maxmemory_policy']}): a create that is sent again may make a second job",
            expected="maxmemory-policy noeviction",
            remedy="redis-cli CONFIG SET maxmemory-policy noeviction; and the same in its "
            "configuration file",
        )
    if not address.password and not address.is_local:
        return warning(
            f"{found}: no password is asked for",
            expected="requirepass, on a network",
            remedy="set requirepass there, and FLANT5_REDIS_PASSWORD_FILE here",
        )
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if most and used > NEARLY_FULL * most:
        return warning(
            f"{found}: {size(used)} of {size(most)} used",
            expected="room; a full server refuses new jobs",
            remedy="a larger maxmemory; old jobs go with FLANT5_KEEP_JOBS_DAYS",
        )
    return fine(f"{found}: append-only file on, nothing is evicted")


def _not_answering(
    error: StoreUnavailableError, address: RedisAddress, *, is_chosen: bool
) -> Finding:
    place, message = address.place, str(error).removeprefix("Redis is not available: ")
    if "loading" in message:
        return warning(
            f"{place} is still loading its data",
            expected="a server that has read its data",
            remedy="wait; `redis-cli INFO persistence` shows how far it is",
        )
    if not is_chosen:
        return _nobody(place)
    return failed(
        f"{place} does not answer: {message}",
        expected="a Redis or Valkey server at FLANT5_REDIS_URL",
        remedy="docker compose up -d redis (or start yours), and look at FLANT5_REDIS_URL",
    )


def _nobody(address: str) -> Finding:
    return not_applicable(
        f"FLANT5_REDIS_URL is not set and nobody answers at {address}; "
        "`docker compose exec api flant5 doctor` asks the server of compose"
    )
