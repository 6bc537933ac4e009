"""The Redis or Valkey server: it answers, takes writes, and loses nothing."""

from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import SecretStr
from redis import exceptions

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.cli.doctor.program import dotted, version_in
from api.cli.printing import size
from worker.jobs.connection import open_redis, unavailable
from worker.jobs.errors import StoreUnavailableError

MIN_VERSION = (7, 0)
"""The first that knows the flags of our scripts (`#!lua flags=allow-oom`)."""
NEARLY_FULL = 0.9

_SAFE = "appendonly yes and maxmemory-policy noeviction: nothing acknowledged may get lost"
_PROBE = "#!lua\nreturn 1"
"""A script that might write: refused by a server that is full, a copy, or can't write its disk."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def address_of(url: SecretStr) -> str:
    """Without the password.

    >>> address_of(SecretStr("redis://:secret@redis:6379/0"))
    'redis:6379'
    """
    parts = urlsplit(url.get_secret_value())
    return parts.netloc.rpartition("@")[2] or parts.path


def check_redis(url: SecretStr, *, is_chosen: bool) -> Finding:
    """`is_chosen` says whether somebody set the address: nobody need run a server at the default
    one."""
    address = address_of(url)
    with open_redis(url) as redis:
        try:
            redis.ping()
        except exceptions.AuthenticationError as error:
            return _refused(f"{address} refuses us: {error}")
        except exceptions.BusyLoadingError:
            return _not_yet(address)
        except exceptions.RedisError as error:
            if not is_chosen:
                return _nobody(address)
            return _unreachable(f"{address} does not answer: {error}")
        try:
            with unavailable():
                redis.eval(_PROBE, 0)
        except (StoreUnavailableError, exceptions.ResponseError) as error:
            return _no_writes(f"{address} answers, and takes no writes of ours: {error}")
        try:
            info = cast(dict[str, Any], redis.info())
        except exceptions.ResponseError as error:
            return warning(
                f"{address} answers, and does not tell how it is set up: {error}",
                expected=f"INFO allowed, to see: {_SAFE}",
                remedy="allow this user the command INFO (ACL SETUSER ... +info), or look yourself",
            )
    return _judged(address, info, has_password=urlsplit(url.get_secret_value()).password)


def _judged(address: str, info: dict[str, Any], *, has_password: str | None) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version", info["redis_version"]))
    found = f"{name} {version} at {address}"
    # Valkey too says here which Redis it is like.
    if (version_in(str(info["redis_version"])) or ()) < MIN_VERSION:
        expected = f"{dotted(MIN_VERSION)} or newer, which knows the flags of our scripts"
        return failed(found, expected=expected, remedy="take the image in docker-compose.yml")
    if wrong := _unsafe(info):
        commands = ", ".join(f"redis-cli CONFIG SET {setting}" for setting in wrong.values())
        return warning(
            f"{found}: {', '.join(wrong)}",
            expected=_SAFE,
            remedy=f"{commands}; and the same in its configuration file",
        )
    if not has_password and address.rpartition(":")[0].strip("[]") not in _LOOPBACK:
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


def _unsafe(info: dict[str, Any]) -> dict[str, str]:
    """What is wrong -> the setting that mends it."""
    wrong = {}
    if not info.get("aof_enabled"):
        wrong["no append-only file"] = "appendonly yes"
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        wrong[f"it evicts keys ({policy})"] = "maxmemory-policy noeviction"
    return wrong


def _refused(found: str) -> Finding:
    return failed(
        found,
        expected="the password of that server",
        remedy="set FLANT5_REDIS_PASSWORD_FILE to the file that holds it (secrets/redis_password)",
    )


def _not_yet(address: str) -> Finding:
    return warning(
        f"{address} is still loading its data",
        expected="a server that has read its data",
        remedy="wait; `redis-cli INFO persistence` shows how far it is",
    )


def _nobody(address: str) -> Finding:
    return not_applicable(
        f"FLANT5_REDIS_URL is not set and nobody answers at {address}; "
        "`docker compose exec api flant5 doctor` asks the server of compose"
    )


def _unreachable(found: str) -> Finding:
    return failed(
        found,
        expected="a Redis or Valkey server at FLANT5_REDIS_URL",
        remedy="docker compose up -d redis (or start yours), and look at FLANT5_REDIS_URL",
    )


def _no_writes(found: str) -> Finding:
    return failed(
        found,
        expected="a primary with room in memory and on its disk, whose user may run scripts",
        remedy="redis-cli INFO replication, INFO memory, INFO persistence",
    )
